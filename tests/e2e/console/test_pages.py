"""Every page for every role: it opens or is refused, and axe has no serious complaint."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.e2e.console.browser import person
from tests.e2e.console.conftest import Town

APP = "/repositories/acme/app"
ORGANIZATION = "/organizations/acme"

# Pages, and the lowest role that sees them: visitor, member (rita: read-only on acme/app), owner,
# admin.
PAGES = {
    "/sign-in": "visitor",
    "/repositories": "visitor",
    "/repositories?filter=app&sort=-created": "visitor",
    "/search?q=app": "visitor",
    "/repositories/acme/open": "visitor",
    "/repositories/acme/open/-/tags": "visitor",
    "/repositories/acme/open/-/tags/v1": "visitor",
    "/": "visitor",
    "/repositories?new=repository": "member",
    "/repositories?tab=mine": "member",
    "/repositories?tab=shared": "member",
    "/welcome": "member",
    "/trash": "member",
    APP: "member",
    f"{APP}/-/tags": "member",
    f"{APP}/-/untagged": "member",
    f"{APP}/-/usage": "member",
    f"{APP}/-/trash?kind=tags": "owner",
    f"{APP}/-/tags/production": "member",
    f"{APP}/-/compare?tag=production&tag=staging": "member",
    f"{APP}/-/trash": "owner",
    "/organizations": "member",
    ORGANIZATION: "member",
    f"{ORGANIZATION}/teams": "member",
    f"{ORGANIZATION}/teams/ritas": "member",
    f"{ORGANIZATION}/teams/ritas?new=access": "member",
    f"{ORGANIZATION}/members": "member",
    f"{APP}/-/permissions": "owner",
    f"{APP}/-/permissions?new=job": "owner",
    f"{APP}/-/activity": "owner",
    f"{APP}/-/settings": "owner",
    f"{APP}/-/delete": "owner",
    f"{APP}/-/delete-tags?tag=production": "owner",
    f"{ORGANIZATION}/robots": "owner",
    f"{ORGANIZATION}/settings": "owner",
    "/users": "member",
    "/users?new=import": "member",
    "/users/owen": "member",
    "/users/admin/tokens": "admin",
    "/users/admin/sessions": "admin",
    "/users/admin/repositories": "member",
    "/dashboard": "admin",
    "/settings/general": "admin",
    "/settings/security": "admin",
    "/settings/storage": "admin",
    "/settings/auth": "admin",
    "/settings/jobs": "admin",
    "/settings/about": "admin",
    "/logs": "admin",
    "/logs/audit": "admin",
}
ROLES = {"visitor": "", "member": "rita", "owner": "owen", "admin": "admin"}
_ORDER = list(ROLES)
_COLORS = ("color-contrast", "link-in-text-block")


@pytest.mark.parametrize("role", ROLES)
def test_pages_open_for_roles_that_may_see_them(browser: Browser, town: Town, role: str) -> None:
    with person(browser, town.managed, ROLES[role]) as user:
        for path, least in PAGES.items():
            status = user.go(path)
            sees = _ORDER.index(role) >= _ORDER.index(least)
            if sees:
                assert status == 200, f"{role} {path}: {status}"
            elif role == "visitor":
                assert "/sign-in" in user.page.url, f"{role} {path}: {status}"
            elif not path.startswith(ORGANIZATION + "/settings"):
                assert status in (403, 404), f"{role} {path}: {status}"


@pytest.mark.parametrize(
    ("name", "options", "rules"),
    [
        ("light", {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}}, ()),
        # The same document in other colors.
        ("dark", {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}}, _COLORS),
        ("phone", {"color_scheme": "light", "viewport": {"width": 360, "height": 740}}, ()),
    ],
)
def test_pages_can_be_used_by_everybody(
    browser: Browser, town: Town, name: str, options: dict[str, object], rules: tuple[str, ...]
) -> None:
    complaints: dict[str, object] = {}
    with person(browser, town.managed, "admin", **options) as admin:
        for path in PAGES:
            admin.go(path)
            if found := admin.violations(*rules):
                complaints[path] = found
            if wide := admin.page.evaluate(_TOO_WIDE):
                complaints[f"{path} scrolls sideways"] = wide
            if name != "light":
                admin.shoot(f"{name}{path.partition('?')[0].replace('/', '_')}")
    assert complaints == {}


def test_no_page_scrolls_sideways(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "admin") as admin:
        complaints: dict[str, list[int]] = {}
        for path in PAGES:
            admin.go(path)
            for width in (320, 768, 1920, 3840):
                admin.page.set_viewport_size({"width": width, "height": 900})
                if admin.page.evaluate(_TOO_WIDE):
                    complaints.setdefault(path, []).append(width)
    assert complaints == {}


_TOO_WIDE = "Math.max(0, document.documentElement.scrollWidth - innerWidth)"


def test_a_page_that_is_not_there_says_so(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "rita") as rita:
        assert rita.go("/no/such/page") == 404
        rita.see("There is no such page")
        # A hidden repository looks like a missing one.
        assert rita.go("/repositories/acme/secret") == rita.go("/repositories/acme/none") == 404

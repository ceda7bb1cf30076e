"""Every page for every role: it opens or is refused, and axe has no serious complaint."""

from __future__ import annotations

from typing import Literal

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
# Widths, colors, and the rules of axe: all of them (), some, or None. The dark theme is the same
# document in other colors. On a phone, other elements are hidden and others are close together.
_COLORS = ("color-contrast", "link-in-text-block")
_PHONE = (
    *_COLORS,
    *("button-name", "label", "link-name", "scrollable-region-focusable", "select-name"),
    "target-size",
)
_LOOKS: list[tuple[int, Literal["light", "dark"], tuple[str, ...] | None]] = [
    (1280, "light", ()),
    (1280, "dark", _COLORS),
    (360, "light", _PHONE),
    (320, "light", None),
    (768, "light", None),
    (1920, "light", None),
    (3840, "light", None),
]


@pytest.mark.parametrize("role", ROLES)
def test_pages_open_for_roles_that_may_see_them(browser: Browser, town: Town, role: str) -> None:
    with person(browser, town.managed, ROLES[role]) as user:
        for path, least in PAGES.items():
            if _ORDER.index(role) >= _ORDER.index(least):
                assert user.go(path) == 200, f"{role} {path}"
                continue
            answer = user.page.request.get(user.url + path)
            if role == "visitor":
                assert "/sign-in" in answer.url, f"{role} {path}: {answer.status}"
            elif not path.startswith(ORGANIZATION + "/settings"):
                assert answer.status in (403, 404), f"{role} {path}: {answer.status}"


def test_pages_can_be_used_by_everybody(browser: Browser, town: Town) -> None:
    """One visit of each page: its colors in both themes, its layout at many widths."""
    complaints: dict[str, object] = {}
    with person(browser, town.managed, "admin", color_scheme="light") as admin:
        for path in PAGES:
            admin.go(path)
            for width, color, rules in _LOOKS:
                admin.page.set_viewport_size({"width": width, "height": 900})
                if admin.page.evaluate(_TOO_WIDE):
                    complaints[f"{path} at {width}"] = "scrolls sideways"
                if rules is None:
                    continue
                admin.page.emulate_media(color_scheme=color)
                if found := admin.violations(*rules):
                    complaints[f"{path} at {width}, {color}"] = found
    assert complaints == {}


_TOO_WIDE = "Math.max(0, document.documentElement.scrollWidth - innerWidth)"


def test_a_page_that_is_not_there_says_so(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "rita") as rita:
        assert rita.go("/no/such/page") == 404
        rita.see("There is no such page")
        # A hidden repository looks like a missing one.
        assert rita.go("/repositories/acme/secret") == rita.go("/repositories/acme/none") == 404

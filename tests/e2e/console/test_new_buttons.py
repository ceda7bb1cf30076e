"""The button at the top right of a list, and the form that it opens over the list."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, expect

from tests.e2e.console.browser import person
from tests.e2e.console.conftest import Town

APP = "/repositories/acme/app"
ORGANIZATION = "/organizations/acme"
# Pages with a form to open: its button, its key in the address, and its heading.
FORMS = (
    ("/repositories?filter=app", "New repository", "repository", "New repository"),
    ("/organizations", "New organization", "organization", "New organization"),
    (ORGANIZATION, "New repository", "repository", "New repository"),
    (f"{ORGANIZATION}/teams", "New team", "team", "New team"),
    (f"{ORGANIZATION}/teams/ritas", "Add member", "member", "Add member to ritas"),
    (f"{ORGANIZATION}/teams/ritas", "Add repository", "access", "Add repository to ritas"),
    (f"{ORGANIZATION}/members", "Add member", "member", "Add member"),
    (f"{ORGANIZATION}/robots", "New robot", "robot", "New robot"),
    ("/users", "New user", "user", "New user"),
    ("/users", "Import", "import", "Import users from a file"),
    ("/users/admin/tokens", "New token", "token", "New token"),
    ("/users/admin/repositories", "New repository", "repository", "New repository"),
    (f"{APP}/-/permissions", "Grant access", "user", "Grant a user access"),
    ("/settings/auth", "New issuer", "issuer", "New issuer of CI tokens"),
)
_PRIMARY = "main :is(button, .button):not(.quiet, .danger)"


def test_each_list_opens_its_form_over_itself(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "admin") as admin:
        for path, button, key, title in FORMS:
            admin.go(path)
            visible = admin.page.locator(_PRIMARY).locator("visible=true")
            assert visible.count() <= 1, (path, visible.all_inner_texts())
            admin.open_form(button)
            dialog = admin.page.get_by_role("dialog", name=title, exact=True)
            expect(dialog).to_be_visible()
            joint = "&" if "?" in path else "?"
            assert admin.page.url.endswith(f"{path}{joint}new={key}"), path
            expect(dialog.locator(":focus")).to_have_count(1)
            admin.page.keyboard.press("Escape")
            expect(dialog).to_be_hidden()
            expect(admin.page).to_have_url(admin.url + path)
            opener = admin.page.locator("main [data-opens]").get_by_text(button, exact=True)
            expect(opener.first.locator("xpath=..")).to_be_focused()
            # The address of the form leads to it, and out of it to the list.
            admin.go(f"{path}{joint}new={key}")
            expect(dialog).to_be_visible()
            dialog.get_by_role("link", name="Cancel").click()
            expect(dialog).to_be_hidden()
            expect(admin.page).to_have_url(admin.url + path)


def test_a_form_that_is_left_keeps_the_list_and_the_words(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "owen") as owen:
        owen.go("/organizations")
        owen.go(f"{APP}/-/permissions")
        owen.open_form("Grant access")
        owen.page.keyboard.press("Escape")
        expect(owen.page).to_have_url(f"{owen.url}{APP}/-/permissions")
        owen.page.go_back()
        expect(owen.page).to_have_url(owen.url + "/organizations")
        owen.page.go_forward()
        owen.page.evaluate("window.isSamePage = true")
        owen.open_form("Grant access")
        owen.page.get_by_label("User name").fill("nor")
        owen.page.locator("dialog:modal").get_by_role("link", name="Team").click()
        expect(owen.page.get_by_role("dialog", name="Grant a team access")).to_be_visible()
        assert owen.page.url.endswith("?new=team")
        owen.page.go_back()
        expect(owen.page.locator("dialog[open]")).to_have_count(0)
        owen.page.go_forward()
        owen.page.locator("dialog:modal").get_by_role("link", name="User").click()
        expect(owen.page.get_by_label("User name")).to_have_value("nor")
        assert owen.page.evaluate("window.isSamePage")
        # After a success, the back button leads to the list.
        owen.page.get_by_label("User name").fill("nora")
        owen.page.locator("dialog:modal").get_by_role("button", name="Grant").click()
        owen.see("nora now has read-only access")
        owen.page.go_back()
        expect(owen.page.get_by_role("heading", name="Users")).to_be_visible()
        expect(owen.page.locator("dialog[open]")).to_have_count(0)
        town.managed.api("DELETE", "repositories/acme/app/userAccess/nora", who="owen")


def test_a_secret_is_not_lost_with_its_form(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "nora") as nora:
        nora.go("/users/nora/tokens?new=token")
        nora.page.get_by_label("Purpose").fill("desk")
        nora.press("Create")
        secret = nora.page.locator("dialog:modal .copy").first
        expect(secret).to_be_visible()
        expect(nora.page.get_by_label("Purpose")).to_be_hidden()
        nora.page.keyboard.press("Escape")
        nora.page.keyboard.press("Escape")
        expect(secret).to_be_visible()
        nora.page.locator("dialog:modal").get_by_role("link", name="Done").click()
        expect(nora.page.get_by_role("row", name=re.compile("desk"))).to_be_visible()
        expect(nora.page.locator("dialog[open]")).to_have_count(0)


def test_forms_open_and_close_without_scripts(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "admin", java_script_enabled=False) as admin:
        admin.go("/users?filter=no")
        assert admin.page.locator("dialog").locator("visible=true").count() == 0
        admin.open_form("New user")
        assert admin.page.url.endswith("/users?filter=no&new=user")
        dialog = admin.page.get_by_role("dialog", name="New user")
        box = dialog.bounding_box()
        assert box is not None
        assert box["y"] < admin.page.get_by_role("table").bounding_box()["y"]  # type: ignore[index]
        dialog.get_by_role("link", name="Cancel").click()
        assert admin.page.url.endswith("/users?filter=no")
        admin.open_form("New user")
        dialog.get_by_label("User name").fill("norbert")
        admin.press("Create", exact=True)
        assert admin.page.url.endswith("/users/norbert")
        town.managed.api("DELETE", "accounts/norbert")


def test_an_issuer_joins_those_that_are_there(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "admin") as admin:
        for name in ("gitlab", "github"):
            admin.go("/settings/auth?new=issuer")
            dialog = admin.page.locator("dialog:modal")
            dialog.get_by_label("Name").fill(name)
            dialog.get_by_label("Issuer URL").fill(f"https://{name}.example")
            dialog.get_by_label("Audience").fill("registry")
            dialog.get_by_role("button", name="Review").click()
            dialog.get_by_role("button", name="Apply").click()
            admin.see("took effect immediately")
        kept = town.managed.api("GET", "admin/settings/oidc")["issuers"]
        assert [one["name"] for one in kept] == ["gitlab", "github"]
        town.managed.api("PUT", "admin/settings/oidc", {"issuers": []})


def test_an_empty_list_says_the_next_step(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "nora") as nora:
        # Nora has nothing, so the sign-in led to the first steps.
        assert nora.page.url.endswith("/welcome")
        nora.press("Not now")
        nora.see("The first steps are in the account menu from now on.")
        nora.see("You have no repositories yet.")
        nora.go("/")
        assert nora.page.url == nora.url + "/"
        nora.page.locator(".menu.user summary").click()
        nora.page.get_by_role("link", name="First steps").first.click()
        nora.see("Push an image")
        nora.go("/repositories?filter=no-such&sort=-created")
        nora.page.get_by_role("link", name="Clear the filter").click()
        expect(nora.page).to_have_url(nora.url + "/repositories?sort=-created")
        nora.see("acme/open")
    with person(browser, town.managed, "rita") as rita:
        # Rita may use a repository of others, so her own page comes first.
        assert rita.page.url == rita.url + "/"
        rita.page.get_by_role("link", name="acme/app", exact=True).click()
        rita.see("read-only")
    with person(browser, town.managed) as visitor:
        visitor.go("/repositories/acme/open/-/tags")
        visitor.page.get_by_role("link", name="Sign in").click()
        visitor.page.get_by_label("User name").fill("rita")
        visitor.page.get_by_label("Password").fill(town.managed.secrets["rita"])
        visitor.press("Sign in")
        expect(visitor.page).to_have_url(visitor.url + "/repositories/acme/open/-/tags")

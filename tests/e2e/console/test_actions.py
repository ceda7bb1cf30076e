"""What people do in the console, with a mouse and with keys."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, expect

from tests.e2e.console.browser import person
from tests.e2e.console.conftest import Town

APP = "/repositories/acme/app"


def _push(town: Town, name: str) -> None:
    full = f"{town.managed.host}/{name}"
    town.docker.run("tag", f"{town.managed.host}/acme/app:production", full)
    town.docker.run("push", full)


def test_a_repository_is_made_in_place_and_deleted_with_what_it_frees(
    browser: Browser, town: Town
) -> None:
    with person(browser, town.managed, "owen") as owen:
        owen.go("/repositories")
        owen.page.get_by_text("New repository").click()
        owen.page.get_by_label("Account", exact=True).fill("acme")
        owen.page.get_by_label("Repository name").fill("made-here")
        owen.page.get_by_label("Description").fill("From the console")
        owen.press("Save")
        owen.see("The repository was made")
        assert owen.page.url.endswith("/repositories/acme/made-here")
        owen.page.get_by_role("link", name="Settings", exact=True).click()
        owen.page.get_by_label("README").fill("# Hello\n\nSome *words*.")
        owen.page.get_by_label("Visibility").select_option("public")
        owen.press("Save")
        expect(owen.page.locator(".readme h3")).to_have_text("Hello")
        owen.go("/repositories/acme/made-here/-/settings")
        owen.page.get_by_role("link", name="Delete …").click()
        owen.see("This frees")
        owen.press("Delete acme/made-here")
        owen.see("acme/made-here was deleted")
        owen.press("Undo")
        owen.see("The repository was restored")
        assert owen.go("/repositories/acme/made-here") == 200


def test_chosen_tags_are_deleted_together_and_come_back(browser: Browser, town: Town) -> None:
    for number in range(3):
        _push(town, f"acme/open:old-{number}")
    with person(browser, town.managed, "owen") as owen:
        owen.go("/repositories/acme/open/-/tags?filter=old-")
        owen.page.get_by_label("Select all tags of this page").check()
        owen.press("Delete selected …")
        owen.see("Delete 3 tags?")
        owen.press("Delete 3 tags")
        owen.see("Deleted 3 tags of acme/open: old-0, old-1, old-2.")
        assert owen.page.get_by_role("link", name="old-1").count() == 0
        owen.press("Undo")
        owen.see("Restored 3 tags in acme/open")
        owen.go("/repositories/acme/open/-/tags?filter=old-")
        expect(owen.page.get_by_role("link", name=re.compile("^old-"))).to_have_count(3)


def test_a_tag_goes_back_to_what_it_was(browser: Browser, town: Town) -> None:
    _push(town, "acme/open:moving")
    staging = f"{town.managed.host}/acme/app:staging"
    town.docker.run("tag", staging, f"{town.managed.host}/acme/open:moving")
    town.docker.run("push", f"{town.managed.host}/acme/open:moving")
    with person(browser, town.managed, "owen") as owen:
        owen.go("/repositories/acme/open/-/tags/moving")
        owen.see("staging")
        owen.press("Restore")
        owen.see("The tag was restored")
        owen.see("APP_MODE=production")


def test_two_tags_are_compared(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "rita") as rita:
        rita.go(f"{APP}/-/tags")
        rita.page.get_by_label("Select production").check()
        rita.page.get_by_label("Select staging").check()
        rita.press("Compare selected two")
        rita.see("env APP_MODE")
        rita.see("Shared layers")


def test_a_token_is_shown_once_and_signs_docker_in(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "will") as will:
        will.go("/users/will/tokens")
        will.page.get_by_label("What it is for").fill("laptop")
        will.press("Make the token")
        will.see("This is shown once")
        token = will.page.locator(".copy code").first.inner_text()
        town.docker.run("login", town.managed.host, "-u", "will", "--password-stdin", text=token)
        will.go("/users/will/tokens")
        assert token not in will.page.content()
        will.press("Revoke")
        will.see("The token was revoked")
    town.docker.run(
        "login",
        town.managed.host,
        "-u",
        "owen",
        "--password-stdin",
        text=town.managed.secrets["owen"],
    )


def test_a_change_of_settings_is_shown_before_it_is_made(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "admin") as admin:
        admin.go("/settings/storage")
        admin.page.get_by_label("stays in the trash").fill("15")
        admin.press("See what changes")
        expect(admin.page.get_by_role("row", name="trashDays")).to_contain_text("14")
        assert town.managed.api("GET", "admin/settings/storage")["trashDays"] == 14
        admin.press("Apply")
        admin.see("count at once")
        assert town.managed.api("GET", "admin/settings/storage")["trashDays"] == 15
        admin.page.get_by_label("stays in the trash").fill("for ever")
        admin.press("See what changes")
        expect(admin.page.get_by_role("alert")).to_be_visible()
        assert admin.page.get_by_label("stays in the trash").input_value() == "for ever"


def test_access_is_changed_in_place(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "owen") as owen:
        owen.go(f"{APP}/-/permissions")
        owen.page.get_by_text("Give a user access").click()
        owen.page.get_by_label("User name").fill("nora")
        owen.press("Save")
        owen.see("The access was changed")
        row = owen.page.get_by_role("row", name=re.compile("nora"))
        row.locator("select").select_option("read-write")
        owen.see("The access was changed")
        path = "accounts/nora/repositoryAccess/acme/app"
        assert town.managed.api("GET", path)["accessLevel"] == "read-write"
        owen.page.get_by_role("row", name=re.compile("nora")).get_by_role(
            "button", name="Take back"
        ).click()
        owen.see("The access was taken back")


def test_a_job_is_run_and_tells_its_result(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "admin") as admin:
        admin.go("/settings/jobs")
        admin.page.get_by_role("button", name="Run now: measure").click()
        expect(admin.page.locator("#runs")).to_contain_text("measured", timeout=15_000)
        expect(admin.page.locator("#runs")).to_contain_text("done")


def test_the_keyboard_is_enough_to_find_an_image(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "rita") as rita:
        rita.go("/repositories")
        rita.page.keyboard.press("Tab")
        expect(rita.page.locator(".skip")).to_be_focused()
        rita.page.keyboard.press("/")
        expect(rita.page.locator("#search")).to_be_focused()
        rita.page.keyboard.type("production")
        rita.see("acme/app:production")
        rita.page.keyboard.press("ArrowDown")
        rita.page.keyboard.press("Enter")
        rita.page.wait_for_url("**/-/tags/production")


def test_everything_works_without_scripts(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "owen", java_script_enabled=False) as owen:
        owen.go("/repositories?new=1")
        owen.page.get_by_label("Account", exact=True).fill("acme")
        owen.page.get_by_label("Repository name").fill("no-script")
        owen.press("Save")
        owen.see("The repository was made")
        owen.go("/repositories?new=1")
        owen.page.get_by_label("Account", exact=True).fill("acme")
        owen.page.get_by_label("Repository name").fill("no-script")
        owen.press("Save")
        owen.see("there is a repository acme/no-script already")

"""Users' actions in the console, with a mouse and with keys."""

from __future__ import annotations

import re
from pathlib import Path

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
        owen.open_form("New repository")
        owen.page.get_by_label("Account", exact=True).fill("acme")
        owen.page.get_by_label("Repository name").fill("made-here")
        owen.page.get_by_label("Description").fill("From the console")
        owen.press("Create")
        owen.see("Created acme/made-here")
        assert owen.page.url.endswith("/repositories/acme/made-here")
        owen.page.get_by_role("link", name="Settings", exact=True).click()
        owen.page.get_by_label("README").fill("# Hello\n\nSome *words*.")
        owen.page.get_by_label("Visibility").select_option("public")
        owen.press("Save")
        expect(owen.page.locator(".readme h3")).to_contain_text("Hello")
        owen.go("/repositories/acme/made-here/-/settings")
        owen.page.get_by_role("link", name="Delete …").click()
        owen.see("This frees")
        owen.press("Delete acme/made-here")
        owen.see("Deleted acme/made-here")
        owen.press("Undo")
        owen.see("Restored acme/made-here")
        assert owen.go("/repositories/acme/made-here") == 200


def test_chosen_tags_are_deleted_together_and_come_back(browser: Browser, town: Town) -> None:
    for number in range(3):
        _push(town, f"acme/open:old-{number}")
    with person(browser, town.managed, "owen") as owen:
        owen.go("/repositories/acme/open/-/tags?filter=old-")
        owen.page.get_by_label("Select all tags of this page").check()
        owen.press("Delete …")
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
        owen.see("Restored moving in acme/open")
        owen.see("APP_MODE=production")


def test_two_tags_are_compared(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "rita") as rita:
        rita.go(f"{APP}/-/tags")
        rita.page.get_by_label("Select production").check()
        rita.page.get_by_label("Select staging").check()
        rita.press("Compare")
        rita.see("env APP_MODE")
        rita.see("Shared layers")


def test_a_token_is_shown_once_and_signs_docker_in(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "will") as will:
        will.go("/users/will/tokens")
        will.open_form("New token")
        will.page.get_by_label("Purpose").fill("laptop")
        will.press("Create")
        will.see("This is shown once")
        token = will.page.locator(".copy code").first.inner_text()
        town.docker.run("login", town.managed.host, "-u", "will", "--password-stdin", text=token)
        will.go("/users/will/tokens")
        assert token not in will.page.content()
        will.press("Revoke")
        will.page.locator(".form-answer").get_by_role("button", name="Revoke laptop").click()
        will.see("Revoked the token")
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
        admin.page.get_by_label("Keep deleted items").fill("15")
        admin.press("Review changes")
        expect(admin.page.get_by_role("row", name="Keep deleted items")).to_contain_text("14")
        assert town.managed.api("GET", "admin/settings/storage")["trashDays"] == 14
        admin.press("Apply")
        admin.see("took effect immediately")
        assert town.managed.api("GET", "admin/settings/storage")["trashDays"] == 15
        admin.page.get_by_label("Keep deleted items").fill("for ever")
        admin.press("Review changes")
        days = admin.page.get_by_label("Keep deleted items")
        expect(days).to_have_attribute("aria-invalid", "true")
        assert admin.page.get_by_label("Keep deleted items").input_value() == "for ever"


def test_access_is_changed_in_place(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "owen") as owen:
        owen.go(f"{APP}/-/permissions")
        owen.open_form("Grant access")
        owen.page.get_by_label("User name").fill("nora")
        owen.page.locator("dialog[open]").get_by_role("button", name="Grant").click()
        owen.see("nora now has read-only access to acme/app")
        row = owen.page.get_by_role("row", name=re.compile("nora"))
        row.locator("select").select_option("read-write")
        row.get_by_role("button", name="Change").click()
        owen.see("nora now has read-write access to acme/app")
        path = "accounts/nora/repositoryAccess/acme/app"
        assert town.managed.api("GET", path)["accessLevel"] == "read-write"
        owen.page.get_by_role("row", name=re.compile("nora")).get_by_role(
            "button", name="Revoke"
        ).click()
        owen.see("Revoked the access of nora to acme/app")


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
        owen.go("/repositories?new=repository")
        owen.page.get_by_label("Account", exact=True).fill("acme")
        owen.page.get_by_label("Repository name").fill("no-script")
        owen.press("Create")
        owen.see("Created acme/no-script")
        owen.go("/repositories?new=repository")
        owen.page.get_by_label("Account", exact=True).fill("acme")
        owen.page.get_by_label("Repository name").fill("no-script")
        owen.press("Create")
        owen.see("a repository acme/no-script exists already")


def test_settings_of_a_directory_are_tested_before_they_are_saved(
    browser: Browser, town: Town
) -> None:
    with person(browser, town.managed, "admin") as admin:
        admin.go("/settings/auth")
        admin.page.locator("[name='body.serverUrls.0']").fill("ldap://127.0.0.1:1")
        admin.page.get_by_label("Base DN").first.fill("dc=example,dc=org")
        admin.press("Test", exact=True)
        admin.see("does not answer")
        admin.press("Review changes")
        expect(admin.page.get_by_role("row", name="Server 1")).to_contain_text("ldap://127.0.0.1:1")
        admin.press("Apply")
        admin.see("took effect immediately")
        admin.see("connected")
        admin.press("Disconnect the directory")
        admin.page.locator(".form-answer").get_by_role("button", name="Disconnect").click()
        admin.see("Disconnected the directory")


def test_an_opened_log_stays_open_while_jobs_are_asked_for(browser: Browser, town: Town) -> None:
    log = '<details id="run-1" hx-preserve="true"><summary>Log</summary>lines</details>'
    fresh = f'<div id="runs"><b>fresh</b>{log}</div>'
    with person(browser, town.managed, "admin") as admin:
        admin.go("/settings/jobs")
        runs = admin.page.locator("#runs")
        runs.evaluate("(node, html) => { node.innerHTML = html; }", log)
        runs.locator("summary").click()
        admin.page.route("**/settings/jobs", lambda route: route.fulfill(body=fresh))
        admin.page.evaluate(
            "htmx.ajax('GET', '/settings/jobs', {target: '#runs', swap: 'outerHTML'})"
        )
        expect(runs.locator("b")).to_have_text("fresh")
        expect(runs.locator("details[open]")).to_have_count(1)


def test_a_file_of_users_is_chosen(browser: Browser, town: Town, tmp_path: Path) -> None:
    users = tmp_path / "users.csv"
    users.write_text("username,password,fullName,isAdmin\ngrace,a long password,Grace Höpper,no\n")
    with person(browser, town.managed, "admin") as admin:
        admin.go("/users")
        admin.open_form("Import")
        admin.page.get_by_label("Take it from a file").set_input_files(users)
        text = admin.page.get_by_label("Comma-separated values")
        expect(text).to_have_value(users.read_text())
        admin.press("Import")
        admin.see("1 user was created")
        admin.go("/users")
        admin.see("Grace Höpper")

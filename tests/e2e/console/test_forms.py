"""Forms in a browser: errors at fields, ended sessions, selections, and edits of two users."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.e2e.console.browser import Person, person
from tests.e2e.console.conftest import Town
from tests.e2e.console.pusher import Pusher

APP = "/repositories/acme/app"
OPEN = "/repositories/acme/open/-/settings"
README = "# A long text\n\n" + '- one more line with "quotes" & <tags>\n' * 200


def _error_of(field: Locator) -> Locator:
    """Return the text that the field names as its description, and that is an error."""
    ids = (field.get_attribute("aria-describedby") or "").split()
    page = field.page
    return page.locator(", ".join(f"[id='{one}'].field-error" for one in ids))


def _end_session(who: Person) -> None:
    """End the session on the server, as if it had expired. The page stays open."""
    page = who.page.context.new_page()
    page.goto(who.url + "/repositories")
    page.locator("details.user summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    page.close()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "plain"])
def test_errors_stand_at_their_fields(browser: Browser, town: Town, scripts: bool) -> None:
    with person(browser, town.managed, "admin", java_script_enabled=scripts) as admin:
        admin.go("/settings/storage")
        days = admin.page.get_by_label("Keep deleted items")
        rate = admin.page.get_by_label("Verify at most", exact=True)
        rate.fill("1")
        admin.page.get_by_label("Unit: Verify at most").select_option("B")
        days.fill("for ever")
        admin.press("Review changes")
        expect(days).to_have_attribute("aria-invalid", "true")
        expect(days).to_be_focused()
        expect(days).to_have_value("for ever")
        expect(_error_of(days)).to_have_text("Give a number, such as 7 or 0.5.")
        expect(_error_of(rate)).to_have_text("Give at least 64 KiB/s.")
        expect(rate).to_have_value("1")
        assert "trashDays" not in admin.page.locator("main").inner_text()
        if not scripts:
            return
        assert admin.violations() == []
        admin.page.set_viewport_size({"width": 390, "height": 780})
        admin.shoot("form-errors-390")
        wide = "document.documentElement.scrollWidth - innerWidth"
        assert admin.page.evaluate(wide) <= 0
        days.fill("15")
        expect(days).not_to_have_attribute("aria-invalid", "true")
        expect(_error_of(rate)).to_be_visible()
        admin.page.get_by_label("Unit: Verify at most").select_option("MiB")
        admin.press("Review changes")
        expect(rate).not_to_have_attribute("aria-invalid", "true")
        row = admin.page.get_by_role("row", name="Verify at most")
        expect(row).to_contain_text("32 MiB/s")
        expect(row).to_contain_text("1 MiB/s")


def test_an_error_of_no_field_stands_at_the_top_and_a_typed_name_at_its_field(
    browser: Browser, town: Town
) -> None:
    with person(browser, town.managed, "owen") as owen:
        owen.go(f"{APP}/-/permissions")
        owen.open_form("Grant access")
        name = owen.page.get_by_label("User name")
        name.fill("nemo")
        owen.page.locator("dialog:modal").get_by_role("button", name="Grant").click()
        expect(name).to_be_focused()
        expect(_error_of(name)).to_contain_text("There is no user")
        owen.page.get_by_role("link", name="CI jobs").click()
        form = owen.page.locator("form[action='/do/put_trust']")
        form.locator("[name='path.trust']").fill("main")
        form.get_by_label("Issuer").fill("nowhere")
        form.get_by_label("Claim sub matches").fill("repo:a/b:*")
        for box in form.get_by_role("checkbox").all():
            box.uncheck()
        form.get_by_role("button", name="Grant").click()
        top = form.locator("> :first-child")
        expect(top).to_have_text("Permissions: Say what the jobs may do: pull, push, delete.")
        expect(top).to_have_attribute("role", "alert")
        expect(top).to_be_focused()
        form.get_by_label("pull").check()
        form.get_by_role("button", name="Grant").click()
        expect(form.get_by_label("Issuer")).to_have_attribute("aria-invalid", "true")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "plain"])
def test_an_ended_session_returns_to_the_form(browser: Browser, town: Town, scripts: bool) -> None:
    with person(browser, town.managed, "owen", java_script_enabled=scripts) as owen:
        owen.go(OPEN)
        owen.page.get_by_label("README").fill(README)
        owen.page.get_by_label("Description").fill("written meanwhile")
        _end_session(owen)
        owen.press("Save")
        owen.see("Your session has ended.")
        assert "A long text" not in owen.page.content()
        _sign_in_here(owen, "owen", town.managed.secrets["owen"])
        owen.see("You are signed in again.")
        expect(owen.page.get_by_label("README")).to_have_value(README)
        expect(owen.page.get_by_label("Description")).to_have_value("written meanwhile")
        assert town.managed.api("GET", "repositories/acme/open")["longDescription"] == ""
        if scripts:
            assert owen.page.url.endswith(OPEN)
            return
        # Another user of the browser gets nothing of it.
        _end_session(owen)
        owen.press("Save")
        _sign_in_here(owen, "rita", town.managed.secrets["rita"])
        owen.page.wait_for_url(re.compile(r":\d+/$"))
        assert "A long text" not in owen.page.content()


def _sign_in_here(who: Person, name: str, password: str) -> None:
    who.page.get_by_label("User name").fill(name)
    who.page.get_by_label("Password").fill(password)
    who.page.locator("main").get_by_role("button", name="Sign in").click()


def test_a_form_of_an_earlier_sign_in_is_kept_with_scripts(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "owen") as owen:
        owen.go(OPEN)
        owen.page.get_by_label("Description").fill("typed before")
        _end_session(owen)
        other = owen.page.context.new_page()
        Person(other, owen.url).sign_in("owen", town.managed.secrets["owen"])
        owen.press("Save")
        owen.see("You signed in again since this page was opened")
        expect(owen.page.get_by_label("Description")).to_have_value("typed before")
        assert town.managed.api("GET", "repositories/acme/open")["shortDescription"] == ""
        owen.press("Save")
        owen.see("Saved the changes to acme/open")
    town.managed.api("PATCH", "repositories/acme/open", {"shortDescription": ""})


def test_buttons_are_off_until_the_selection_fits(browser: Browser, town: Town) -> None:
    managed = town.managed
    managed.api("POST", "repositories/acme", {"name": "pair"}, "owen")
    auth = ("owen", managed.secrets["owen"])
    with httpx.Client(base_url=managed.registry.url, auth=auth, timeout=30) as client:
        for tag in ("production", "staging"):
            Pusher(client, "acme/pair").image(tag, tag.encode())
    with person(browser, managed, "owen") as owen:
        owen.go("/repositories/acme/pair/-/tags")
        compare = owen.page.get_by_role("button", name="Compare", exact=True)
        delete = owen.page.get_by_role("button", name="Delete …")
        state = owen.page.locator("[data-chosen]")
        expect(compare).to_be_disabled()
        expect(delete).to_be_disabled()
        assert compare.get_attribute("title") == "Comparing needs exactly two tags."
        expect(state).to_contain_text(
            "0 of 2 selected. Comparing needs exactly two tags. Deleting needs"
        )
        owen.page.get_by_label("Select production").check()
        expect(delete).to_be_enabled()
        expect(compare).to_be_disabled()
        expect(state).to_have_text("1 of 2 selected. Comparing needs exactly two tags.")
        owen.page.set_viewport_size({"width": 390, "height": 780})
        everything = owen.page.get_by_label("Select all tags of this page")
        expect(everything).to_have_count(1)
        everything.check()
        expect(compare).to_be_enabled()
        expect(state).to_have_text("2 of 2 selected.")
        owen.shoot("selection-390")
        # While something is selected, the buttons stay in sight below a longer list.
        owen.page.set_viewport_size({"width": 390, "height": 500})
        expect(delete).to_be_in_viewport(ratio=1)
        everything.uncheck()
        expect(delete).not_to_be_in_viewport()
        owen.page.set_viewport_size({"width": 390, "height": 780})
        expect(delete).to_be_disabled()
        owen.page.get_by_label("Select staging").check()
        delete.click()
        owen.see("Delete the tag staging?")
        _back_to_the_selection(owen.page, delete)
    with person(browser, managed, "owen", java_script_enabled=False) as owen:
        owen.go("/repositories/acme/pair/-/tags")
        owen.press("Compare")
        owen.see("Select exactly two tags to compare: you selected 0.")


def _back_to_the_selection(page: Page, delete: Locator) -> None:
    """Go back. The button fits the boxes, which the browser may have kept checked."""
    page.go_back()
    count = page.locator("[data-choose]:checked").count()
    expect(delete).to_be_enabled(enabled=count > 0)


def test_two_edits_do_not_undo_each_other(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "owen") as owen:
        owen.go(OPEN)
        town.managed.api(
            "PATCH",
            "repositories/acme/open",
            {"shortDescription": "theirs", "visibility": "private"},
        )
        owen.page.get_by_label("Description").fill("mine")
        owen.press("Save")
        owen.see("another user changed: Description")
        row = owen.page.get_by_role("row", name="Description")
        expect(row).to_contain_text("theirs")
        expect(row).to_contain_text("mine")
        expect(owen.page.get_by_role("row", name="Visibility")).to_have_count(0)
        assert town.managed.api("GET", "repositories/acme/open")["shortDescription"] == "theirs"
        owen.press("Apply")
        owen.see("Saved the changes to acme/open")
        now = town.managed.api("GET", "repositories/acme/open")
        assert (now["shortDescription"], now["visibility"]) == ("mine", "private")
    before = {"shortDescription": "", "visibility": "public"}
    town.managed.api("PATCH", "repositories/acme/open", before)


def test_sizes_are_entered_with_units_and_a_capped_one_says_so(
    browser: Browser, town: Town
) -> None:
    with person(browser, town.managed, "admin") as admin:
        admin.go("/settings/storage")
        reserve = admin.page.get_by_label("Refuse pushes below", exact=False).first
        expect(reserve).to_have_value("1")
        reserve.fill("900 TiB")
        admin.press("Review changes")
        admin.see("Capped to")
        admin.press("Apply")
        admin.see("took effect immediately. Capped to")
        assert town.managed.api("GET", "admin/settings/storage")["reserveBytes"] == 900 << 40
        expect(reserve).to_have_value("900")
        expect(admin.page.get_by_label("Unit: Refuse pushes")).to_have_value("TiB")
        settings = town.managed.api("GET", "admin/settings/storage") | {"reserveBytes": 1 << 30}
        town.managed.api("PUT", "admin/settings/storage", settings)

"""The tables of events and log lines, and the times on all pages."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.e2e.console.browser import Person, person
from tests.e2e.console.conftest import Town

_AUDIT = "/logs/audit?subject=acme/app"
_ACTIVITY = "/repositories/acme/app/-/activity"
_LINES = "/logs?kind=request"
# The tallest row, in pixels: one line with its padding.
_LINE_HEIGHT_MAX = 34
_PHONE_HEIGHT_MAX = 90
_DESK = {"width": 1280, "height": 800}
_PHONE = {"width": 390, "height": 780}
_ZONE = "Asia/Tokyo"
_LONG = "a-repository-with-a-long-name/" * 4 + "made-by-a-generator"


@pytest.fixture(scope="module")
def eventful(town: Town) -> Town:
    """A town with events and lines of long names, of refusals and of failures."""
    body = {"name": _LONG, "visibility": "private"}
    town.managed.api("POST", "repositories/acme", body, "owen")
    url = town.managed.registry.url
    httpx.get(f"{url}/api/v0/admin/logs", auth=("rita", town.managed.secrets["rita"]))
    httpx.get(f"{url}/v2/acme/{_LONG}/manifests/v1", auth=("owen", town.managed.secrets["owen"]))
    return town


_FITS = "node => node.scrollWidth <= node.clientWidth"


def _heights(rows: Locator) -> list[int]:
    found: list[int] = rows.evaluate_all("rows => rows.map((row) => row.offsetHeight)")
    assert len(found) > 1
    return found


def _wait_for(admin: Person, path: str, text: str) -> None:
    """Open a page until it shows a text: events and lines are written shortly after an answer."""
    for _ in range(100):
        admin.go(path)
        if admin.page.locator("tbody tr", has_text=text).count():
            return
        admin.page.wait_for_timeout(100)
    raise AssertionError(f"{path} does not show {text}")


def test_rows_are_one_line_and_show_their_outcome(browser: Browser, eventful: Town) -> None:
    with person(browser, eventful.managed, "admin", viewport=_DESK) as admin:
        _wait_for(admin, "/logs/audit", _LONG)
        _wait_for(admin, _LINES, _LONG)
        for path in (_AUDIT, "/logs/audit", _ACTIVITY, _LINES):
            admin.go(path)
            rows = admin.page.locator("tbody tr")
            assert max(_heights(rows)) <= _LINE_HEIGHT_MAX, path
            # The badge stands in the second column, where no scrolling is needed to see it.
            badge = rows.first.locator("td").nth(1).locator(".badge")
            box = badge.bounding_box()
            assert box is not None
            assert box["x"] + box["width"] < 400, path
            assert admin.page.locator(".table").evaluate(_FITS), path
            # All filters are one line.
            bar = admin.page.locator(".filters").bounding_box()
            assert bar is not None
            assert bar["height"] < 60, path


def test_cut_texts_are_whole_on_hover_and_in_the_opened_row(
    browser: Browser, eventful: Town
) -> None:
    with person(browser, eventful.managed, "admin", viewport=_DESK) as admin:
        _wait_for(admin, "/logs/audit", _LONG)
        subject = admin.page.locator("td.subject", has_text=_LONG).first
        is_cut = "cell => cell.scrollWidth > cell.clientWidth"
        assert subject.evaluate(is_cut)
        expect(subject).to_have_attribute("title", f"acme/{_LONG}")
        # The keyboard opens the row, which then shows everything.
        subject.locator("xpath=..").locator("summary").focus()
        admin.page.keyboard.press("Enter")
        assert not subject.evaluate(is_cut)
        admin.go(f"{_AUDIT}&kind=push")
        row = admin.page.locator("tbody tr").first
        row.locator("summary").click()
        expect(row.locator("dl")).to_contain_text(re.compile("sha256:[0-9a-f]{64}"))
        _wait_for(admin, f"{_LINES}&text=long-name", _LONG)
        row = admin.page.locator("#lines tr").first
        row.locator("summary").click()
        expect(row.locator("dl")).to_contain_text(f"/v2/acme/{_LONG}/manifests/v1")
        expect(row.locator("dl")).to_contain_text("owen from")


def test_rows_are_short_on_a_phone(browser: Browser, eventful: Town) -> None:
    with person(browser, eventful.managed, "admin", viewport=_PHONE) as admin:
        _wait_for(admin, "/logs/audit", _LONG)
        _wait_for(admin, _LINES, _LONG)
        for path in ("/logs/audit", _ACTIVITY, _LINES):
            admin.go(path)
            rows = admin.page.locator("tbody tr")
            assert max(_heights(rows)) <= _PHONE_HEIGHT_MAX, path
            top = rows.first.bounding_box()
            badge = rows.first.locator(".badge").bounding_box()
            assert top is not None
            assert badge is not None
            assert badge["y"] - top["y"] < 20, path
            assert admin.page.evaluate("document.documentElement.scrollWidth") == 390, path


def test_the_selected_tab_is_in_sight_on_a_phone(browser: Browser, eventful: Town) -> None:
    with person(browser, eventful.managed, "admin", viewport=_PHONE) as admin:
        for path, name, is_cut in (
            ("/settings/about", "About", False),
            ("/repositories/acme/app/-/trash", "Trash", False),
            ("/settings/security", "Security", True),
        ):
            admin.go(path)
            tabs = admin.page.locator(".tabs").first
            expect(tabs.get_by_role("link", name=name)).to_be_in_viewport(ratio=0.95)
            assert admin.page.evaluate("scrollY") == 0, path
            # Tabs fade out while others follow.
            fades = "(node) => getComputedStyle(node).maskImage !== 'none'"
            assert tabs.evaluate(fades) == is_cut, path
        tabs.evaluate("(node) => node.scrollTo(1000, 0)")
        expect(tabs).to_have_css("mask-image", "none")


def test_filters_in_the_menu_are_shown_and_can_be_removed(browser: Browser, eventful: Town) -> None:
    with person(browser, eventful.managed, "admin", timezone_id=_ZONE) as admin:
        admin.go("/logs/audit")
        admin.page.get_by_text("More filters").click()
        for width in (1280, 390):
            admin.page.set_viewport_size({"width": width, "height": 800})
            assert admin.page.evaluate("document.documentElement.scrollWidth") == width
        admin.page.get_by_label("By", exact=True).fill("owen")
        # Times are entered in the browser's zone, and the address has them in UTC.
        expect(admin.page.get_by_text("Since (Asia/Tokyo)")).to_be_visible()
        admin.page.get_by_label("Since").fill("2026-01-31T05:00")
        admin.page.locator(".drop").get_by_role("button", name="Filter").click()
        admin.page.wait_for_url(re.compile("actor=owen.*since=2026-01-30T20%3A00"))
        chips = admin.page.locator(".chips li")
        expect(chips).to_have_count(2)
        expect(chips.nth(1)).to_contain_text("2026-01-31 05:00:00")
        expect(admin.page.get_by_label("Since")).to_have_value("2026-01-31T05:00")
        assert set(admin.page.locator("td.actor").all_inner_texts()) == {"owen"}
        chips.nth(0).get_by_role("link").click()
        admin.page.wait_for_url(re.compile("/logs/audit[?]since="))
        expect(admin.page.locator("td.actor", has_text="admin").first).to_be_visible()


def test_times_are_in_the_browser_s_zone_and_stay_true(browser: Browser, eventful: Town) -> None:
    with person(browser, eventful.managed, "admin", timezone_id=_ZONE) as admin:
        admin.page.clock.install()
        admin.go(_ACTIVITY)
        first = admin.page.locator("tbody time").first
        moment = datetime.fromisoformat(first.get_attribute("datetime") or "")
        local = (moment + timedelta(hours=9)).strftime("%Y-%m-%d %H:%M:%S")
        expect(first).to_have_attribute("title", f"{local} Asia/Tokyo (UTC+09:00)")
        expect(first).to_have_text(re.compile("(second|minute)s? ago$"))
        # The opened row has the same for keyboards, phones and screen readers.
        row = admin.page.locator("tbody tr").first
        row.locator("summary").press("Enter")
        expect(row.locator("dl")).to_contain_text(f"{local} Asia/Tokyo (UTC+09:00)")
        # An open page counts on.
        admin.page.clock.fast_forward(7_200_000)
        expect(first).to_have_text("2 hours ago")
        # One button shows exact times on all pages.
        expect(admin.page.locator("footer")).to_contain_text("Asia/Tokyo (UTC+09:00)")
        switch = admin.page.get_by_role("button", name="Show exact times")
        switch.press("Enter")
        expect(first).to_have_text(local)
        admin.go("/users")
        expect(switch).to_have_attribute("aria-pressed", "true")
        expect(admin.page.locator("tbody time").first).to_have_text(
            re.compile(r"^\d{4}-\d\d-\d\d ")
        )
        switch.click()
        expect(admin.page.locator("tbody time").first).to_have_text(re.compile("ago$|now"))


def test_distances_do_not_depend_on_the_browser_s_clock(browser: Browser, eventful: Town) -> None:
    with person(browser, eventful.managed, "admin") as admin:
        admin.page.clock.install(time=datetime.now(UTC) + timedelta(days=3))
        admin.go(_ACTIVITY)
        first = admin.page.locator("tbody time").first
        expect(first).to_have_text(re.compile("(second|minute|hour)s? ago$"))


def test_live_lines_have_the_browser_s_zone(browser: Browser, eventful: Town) -> None:
    with person(browser, eventful.managed, "admin", timezone_id=_ZONE) as admin:
        admin.go("/logs?text=in-the-zone")
        expect(admin.page.locator("[data-live-state]")).to_have_text("live")
        httpx.get(f"{admin.url}/v2/acme/in-the-zone/tags/list")
        time = admin.page.locator("#lines time").first
        moment = datetime.fromisoformat(time.get_attribute("datetime") or "")
        local = (moment + timedelta(hours=9)).strftime("%Y-%m-%d %H:%M:%S")
        expect(time).to_have_text(re.compile(f"^{local}[.][0-9]{{3}}$"))


def test_without_scripts_times_are_in_utc(browser: Browser, eventful: Town) -> None:
    options = {"java_script_enabled": False, "timezone_id": _ZONE}
    with person(browser, eventful.managed, "admin", **options) as admin:
        admin.go(_ACTIVITY)
        first = admin.page.locator("tbody time").first
        moment = datetime.fromisoformat(first.get_attribute("datetime") or "")
        expect(first).to_have_attribute("title", moment.strftime("%Y-%m-%d %H:%M:%S UTC"))
        expect(admin.page.locator("footer")).to_contain_text("Times are in UTC")
        expect(admin.page.get_by_role("button", name="Show exact times")).to_be_hidden()
        admin.go("/logs")
        expect(admin.page.locator("th.time")).to_have_text("Time (UTC)")

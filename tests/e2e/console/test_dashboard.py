"""The dashboard: its order, its layout, and the range of its charts."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.e2e.console.browser import Person, person
from tests.e2e.console.conftest import Town

_DAY = 86_400
_RANGES = "dashboardCharts().map(({ range }) => range)"
_LABELS = "dashboardCharts().map(({ labels }) => labels)"
# For each row of cards, its distances from both sides of the page.
_ROWS = """() => {
  const grids = [...document.querySelectorAll(".cards")];
  return grids.filter((grid) => grid.clientWidth).map((grid) => {
    const rows = new Map();
    for (const card of grid.children) {
      const { top, left, right } = card.getBoundingClientRect();
      rows.set(Math.round(top), [...(rows.get(Math.round(top)) || []), [left, right]]);
    }
    const { left, right } = grid.getBoundingClientRect();
    return [...rows.values()].map((row) => [row[0][0] - left, right - row.at(-1)[1]]);
  });
}"""
_SIDEWAYS = "document.documentElement.scrollWidth - innerWidth"


def _wait_until(admin: Person, expression: str) -> None:
    """Wait until the expression is true. The policy of the page forbids to evaluate it inside."""
    for _ in range(200):
        if admin.page.evaluate(expression):
            return
        admin.page.wait_for_timeout(100)
    raise AssertionError(f"{expression} stays false")


def _wait_for_charts(admin: Person) -> None:
    _wait_until(admin, "window.dashboardCharts && dashboardCharts().length")


def test_a_range_is_shown_as_it_is_named(browser: Browser, town: Town) -> None:
    """The registry is some minutes old, so most of a longer range has no data."""
    with person(browser, town.managed, "admin", timezone_id="Asia/Kolkata") as admin:
        for span, label in (
            (900, r"\d\d:\d\d"),
            (_DAY, r"\d\d:\d\d|\d+ \w{3,4}"),
            (7 * _DAY, r"\d+ \w{3,4}"),
            (30 * _DAY, r"\d+ \w{3,4}"),
        ):
            admin.go(f"/dashboard?span={span}")
            _wait_for_charts(admin)
            ranges = admin.page.evaluate(_RANGES)
            assert len(ranges) > 10
            for low, high in ranges:
                assert high - low == pytest.approx(span)
                assert abs(high - time.time()) < 30
            for labels in admin.page.evaluate(_LABELS):
                assert len(labels) >= 2, span
                assert all(re.fullmatch(label, text) for text in labels), (span, labels)
            if span == _DAY:
                names = [text for labels in admin.page.evaluate(_LABELS) for text in labels]
                assert any(" " in text for text in names), "midnight has its date"


def test_charts_show_values_with_time_and_zone_or_that_there_are_none(
    browser: Browser, town: Town
) -> None:
    with person(browser, town.managed, "admin", timezone_id="Asia/Kolkata") as admin:
        admin.page.route("**/live/dashboard", lambda route: route.abort())
        admin.page.route("**/dashboard/history?*", _hour_with_a_gap)
        admin.go("/dashboard?span=3600")
        _wait_for_charts(admin)
        figure = admin.page.locator("figure", has_text=re.compile(r"^\s*CPU")).first
        chart = figure.locator(".u-over")
        chart.scroll_into_view_if_needed()
        box = chart.bounding_box()
        assert box is not None
        at = figure.locator("[data-time]")
        value = figure.locator("[data-value]").first
        chart.hover(position={"x": box["width"] * 0.9, "y": 20})
        expect(value).to_have_text("42 %")
        expect(at).to_have_text(re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+ \(UTC\+05:30\)$"))
        # All charts show the same moment.
        expect(
            admin.page.locator("figure", has_text="Disk").locator("[data-time]").first
        ).not_to_be_empty()
        chart.hover(position={"x": box["width"] * 0.5, "y": 20})
        expect(value).to_have_text("\N{EN DASH}")
        expect(at).not_to_be_empty()
        admin.page.locator("h1").hover()
        expect(at).to_be_empty()
        # A chart without data says so, to all readers.
        full = admin.page.get_by_role(
            "img", name=re.compile(r"^CPU( \(limit\))?\. Now: in use 42 %")
        )
        empty = admin.page.get_by_role("img", name="Images per minute: no data in this time")
        expect(full.locator(".over")).to_be_hidden()
        expect(empty.locator(".over")).to_have_text("No data in this time")
        admin.page.unroute("**/dashboard/history?*")
        admin.page.route("**/dashboard/history?*", lambda route: route.fulfill(status=500))
        admin.go("/dashboard?span=3600")
        note = admin.page.locator(".chart:visible .over").first
        expect(note).to_have_text("The data could not be loaded")


def _hour_with_a_gap(route: Route) -> None:
    """Answer with values of the last quarter and the first quarter of an hour."""
    now = int(time.time()) // 10 * 10
    times = [*range(now - 3600, now - 2700, 10), *range(now - 900, now, 10)]
    columns = {"cpu_percent": [42.0] * len(times), "disk_used_bytes": [1e9] * len(times)}
    document = {"stepSeconds": 10, "times": times, "columns": columns, "now": now}
    route.fulfill(json=document)


def test_the_range_moves_with_the_time(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "admin") as admin:
        admin.go(f"/dashboard?span={7 * _DAY}")
        _wait_for_charts(admin)
        (low, high), *_ = admin.page.evaluate(_RANGES)
        _wait_until(admin, f"dashboardCharts()[0].range[1] > {high}")
        (low_now, high_now), *_ = admin.page.evaluate(_RANGES)
        assert high_now - high == pytest.approx(low_now - low)
        assert high_now - low_now == pytest.approx(7 * _DAY)


def test_no_row_of_cards_has_a_rest(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "admin") as admin:
        for path in ("/settings/jobs", "/settings/general", "/dashboard#internals"):
            admin.go(path)
            for width in (390, 1280, 1920):
                admin.page.set_viewport_size({"width": width, "height": 900})
                rows = admin.page.evaluate(_ROWS)
                assert rows, path
                for left, right in (row for grid in rows for row in grid):
                    assert max(abs(left), abs(right)) < 2, (width, path, rows)
                assert admin.page.evaluate(_SIDEWAYS) <= 0, (width, path)
        admin.page.emulate_media(color_scheme="dark")
        assert admin.violations() == []


def test_internals_are_closed_until_they_are_wanted(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "admin") as admin:
        admin.go("/dashboard")
        _wait_for_charts(admin)
        internals = admin.page.locator("#internals")
        expect(internals.get_by_role("heading", name="Commits")).to_be_hidden()
        # A line of the health leads there, and the charts in it get their size.
        admin.page.locator(".checks").get_by_role("link", name="Processes").click()
        expect(internals.get_by_role("link", name="housekeeper")).to_be_visible()
        canvas = internals.locator("canvas").first
        node = internals.locator(".chart").first
        expect(canvas).to_be_visible()
        wanted = node.evaluate("node => node.clientWidth")
        expect(node.locator(".uplot")).to_have_css("width", f"{wanted}px")
        # It stays open, and the meanings of numbers do, while new numbers come.
        meanings = admin.page.locator("#now .meanings").first
        meanings.locator("summary").click()
        admin.page.evaluate("window.seen = document.querySelector('#now').textContent")
        _wait_until(admin, "document.querySelector('#now').textContent !== window.seen")
        expect(meanings.get_by_text("An image for two platforms")).to_be_visible()
        expect(internals.get_by_role("link", name="housekeeper")).to_be_visible()
        for path, text in (("jobs", "sparse packs"), ("storage", "All background tasks")):
            admin.go(f"/settings/{path}")
            part = admin.page.locator("#internals")
            expect(part.get_by_text(text).first).to_be_hidden()
            part.locator("summary").first.click()
            expect(part.get_by_text(text).first).to_be_visible()


def test_numbers_add_up_and_have_one_name(browser: Browser, town: Town) -> None:
    labels = (
        "Size of all images",
        "Saved by equal blobs",
        "Saved by equal chunks",
        "Saved by compression",
        "On disk",
    )
    with person(browser, town.managed, "admin") as admin:
        got: Any = admin.page.context.request.get(f"{admin.url}/api/v0/admin/storage").json()
        saved = got["equalBlobsBytes"] + got["equalChunksBytes"] + got["compressionBytes"]
        assert got["logicalBytes"] - saved + got["overheadBytes"] == got["storedBytes"]
        # acme/open has the image of acme/app.
        assert got["equalBlobsBytes"] > 0
        for path in ("/dashboard", "/settings/storage"):
            admin.go(path)
            sums = admin.page.locator("dl.sums").first.inner_text()
            assert [label for label in labels if label in sums] == list(labels), path
        admin.go("/dashboard")
        pushed = admin.page.locator("#now .stats > div", has_text="Images pushed").locator(
            ".figure"
        )
        before = int(pushed.inner_text())
        assert before > 0
        host = town.managed.host
        town.docker.run("tag", f"{host}/acme/app:staging", f"{host}/acme/app:counted")
        town.docker.run("push", f"{host}/acme/app:counted")
        expect(pushed).to_have_text(str(before + 1), timeout=10_000)

"""Pages that update themselves."""

from __future__ import annotations

import html
import re
import tarfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
from playwright.sync_api import Browser, expect

from tests.e2e.console.browser import Person, person
from tests.e2e.console.conftest import Town


def test_log_lines_come_as_they_are_written(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "admin") as admin:
        admin.go("/logs?text=nothing-like-this")
        expect(admin.page.locator("[data-live-state]")).to_have_text("live")
        _ask_for(town, "nothing-like-this-1")
        expect(admin.page.locator("#lines")).to_contain_text("nothing-like-this-1")
        admin.press("Pause")
        _ask_for(town, "nothing-like-this-2")
        expect(admin.page.locator("[data-live-state]")).to_have_text("paused")
        expect(admin.page.locator("#lines")).not_to_contain_text("nothing-like-this-2")
        admin.press("Resume")
        expect(admin.page.locator("#lines tr")).to_have_count(2)


def test_no_line_falls_between_a_page_and_its_stream(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "admin") as admin:
        page = admin.page.context.request.get(f"{admin.url}/logs?text=in-between").text()
        found = re.search('data-live="([^"]+)"', page)
        assert found is not None
        _ask_for(town, "in-between-1")
        _wait_for_line(admin, "in-between-1")
        first = _first_event(admin, html.unescape(found[1]))
        assert "in-between-1" in first
        _ask_for(town, "in-between-2")
        _wait_for_line(admin, "in-between-2")
        place = first.partition("id: ")[2].partition("\n")[0]
        second = _first_event(admin, html.unescape(found[1]), place)
        assert "in-between-2" in second
        assert "in-between-1" not in second


def _ask_for(town: Town, name: str) -> None:
    """Send a request of which the log gets a line."""
    httpx.get(f"{town.managed.registry.url}/v2/acme/{name}/tags/list")


def _wait_for_line(admin: Person, text: str) -> None:
    """Wait until the request's line is in the log, which is shortly after the answer."""
    address = f"{admin.url}/logs/download?kind=request&text=/v2/acme/{text}"
    for _ in range(100):
        if text in admin.page.context.request.get(address).text():
            return
        admin.page.wait_for_timeout(50)
    raise AssertionError(f"no line has {text}")


def _first_event(admin: Person, address: str, place: str = "") -> str:
    """Return the first event of a stream, after its interval for reconnects."""
    cookies = {c["name"]: c["value"] for c in admin.page.context.cookies()}
    headers = {"last-event-id": place} if place else {}
    with httpx.stream("GET", admin.url + address, cookies=cookies, headers=headers) as answer:
        text = ""
        for piece in answer.iter_text():
            text += piece
            if "data: " in text and text.endswith("\n\n"):
                return text
    raise AssertionError("the stream ended")


def test_the_dashboard_draws_and_counts(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "admin") as admin:
        admin.go("/dashboard")
        expect(admin.page.locator("[data-live-state]")).to_have_text("live")
        admin.page.locator(".uplot canvas").first.wait_for()
        assert admin.page.locator(".uplot canvas").count() > 10
        pulls = admin.page.locator("#now .stats > div", has_text="Images pulled")
        before = pulls.inner_text()
        for _ in range(30):
            httpx.get(f"{town.managed.registry.url}/v2/acme/open/manifests/v1")
        expect(pulls).not_to_have_text(before, timeout=10_000)
        expect(admin.page.locator("#now")).to_contain_text("acme/open")
        admin.shoot("dashboard")


_CHARTS = "dashboardCharts().map(({ names, data }) => [names, data.map((row) => row.length)])"
_IN_ORDER = """() => dashboardCharts().every(
  ({ data: [times] }) => times.every((time, at) => !at || time > times[at - 1])
)"""
_NEWEST = "Math.min(...dashboardCharts().map(({ data }) => data[0].at(-1) ?? 0))"


def test_charts_go_on_in_step_with_their_times(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "admin") as admin:
        admin.go("/dashboard?span=900")
        _wait_until(admin, "dashboardCharts().length > 10")
        before = admin.page.evaluate(_NEWEST)
        _wait_until(admin, f"{_NEWEST} > {before} + 9")
        for names, lengths in admin.page.evaluate(_CHARTS):
            assert len(set(lengths)) == 1, names
        assert admin.page.evaluate(_IN_ORDER)
        assert abs(admin.page.evaluate(_NEWEST) - time.time()) < 30


def _wait_until(visitor: Person, expression: str) -> None:
    """Wait until the expression is true.

    The page's policy forbids libraries to evaluate text in it, so this asks from outside.
    """
    for _ in range(300):
        if visitor.page.evaluate(expression):
            return
        visitor.page.wait_for_timeout(200)
    raise AssertionError(f"{expression} stays false")


def test_what_one_does_outlives_the_next_numbers(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "admin") as admin:
        admin.go("/dashboard")
        link = admin.page.locator("#now .checks").get_by_role("link", name="Host")
        link.focus()
        admin.page.evaluate("window.seen = document.querySelector('#now').textContent")
        _wait_until(admin, "document.querySelector('#now').textContent !== window.seen")
        expect(link).to_be_focused()


def test_a_stream_ends_with_the_session(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "admin") as admin:
        admin.go("/logs?text=after-the-end")
        state = admin.page.locator("[data-live-state]")
        expect(state).to_have_text("live")
        cookies = {c["name"]: c["value"] for c in admin.page.context.cookies()}
        with httpx.Client(base_url=admin.url, cookies=cookies) as other:
            token = other.get("/api/v0/sessions/current").json()["csrfToken"]
            left = other.delete("/api/v0/sessions/current", headers={"x-csrf-token": token})
            assert left.status_code == 204
        _ask_for(town, "after-the-end-1")
        expect(state).to_have_text("over: load the page again", timeout=10_000)
        expect(admin.page.locator("#lines tr")).to_have_count(0)


def test_a_hidden_page_has_no_stream(browser: Browser, town: Town) -> None:
    """Browsers open six connections to a host, so more live pages would block all others."""
    with person(browser, town.managed, "admin") as admin:
        for _ in range(8):
            page = admin.page.context.new_page()
            page.goto(f"{admin.url}/logs")
            page.evaluate(_HIDE)
        assert admin.go("/repositories") == 200


def test_a_stream_that_a_page_left_gives_its_place_back(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "admin") as admin:
        cookies = {one["name"]: one["value"] for one in admin.page.context.cookies()}
        with httpx.Client(base_url=admin.url, cookies=cookies) as client:
            # Both workers are full after several refusals in a row.
            refusals = 0
            with ExitStack() as streams:
                while refusals < 8:
                    stream = streams.enter_context(client.stream("GET", "/live/logs"))
                    refusals = refusals + 1 if stream.status_code == 503 else 0
            left = time.monotonic()
            while _status_of(client, "/live/logs") != 200:
                admin.page.wait_for_timeout(500)
            assert time.monotonic() - left < 15


def _status_of(client: httpx.Client, path: str) -> int:
    with client.stream("GET", path) as stream:
        return stream.status_code


_HIDE = """() => {
  Object.defineProperty(document, "hidden", { get: () => true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_the_support_bundle_has_no_secret(browser: Browser, town: Town, tmp_path: Path) -> None:
    with person(browser, town.managed, "admin") as admin:
        admin.go("/settings/about")
        with admin.page.expect_download() as download:
            admin.page.get_by_role("link", name="Make a support bundle").click()
        path = tmp_path / "bundle.tar.gz"
        download.value.save_as(path)
    with tarfile.open(path) as archive:
        names = archive.getnames()
        text = b"".join(
            member.read() for name in names if (member := archive.extractfile(name)) is not None
        ).decode()
    assert any(name.endswith("/versions.json") for name in names)
    for secret in town.managed.secrets.values():
        assert secret not in text

"""What shows up by itself."""

from __future__ import annotations

import tarfile
from pathlib import Path

import httpx
from playwright.sync_api import Browser, expect

from tests.e2e.console.browser import person
from tests.e2e.console.conftest import Town


def test_log_lines_come_as_they_are_written(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "admin") as admin:
        admin.go("/logs?text=nothing-like-this")
        expect(admin.page.locator("[data-live-state]")).to_have_text("live")
        httpx.get(f"{town.managed.registry.url}/v2/acme/nothing-like-this-1/tags/list")
        expect(admin.page.locator("#lines")).to_contain_text("nothing-like-this-1")
        admin.press("Pause")
        httpx.get(f"{town.managed.registry.url}/v2/acme/nothing-like-this-2/tags/list")
        admin.go("/logs?text=nothing-like-this-2&kind=request")
        expect(admin.page.locator("#lines tr")).to_have_count(1)


def test_the_dashboard_draws_and_counts(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "admin") as admin:
        admin.go("/dashboard")
        expect(admin.page.locator("[data-live-state]")).to_have_text("live")
        admin.page.locator(".uplot canvas").first.wait_for()
        assert admin.page.locator(".uplot canvas").count() > 10
        pulls = admin.page.locator("dt", has_text="Pulls, pushes").locator("xpath=..")
        before = pulls.inner_text()
        for _ in range(30):
            httpx.get(f"{town.managed.registry.url}/v2/acme/open/manifests/v1")
        expect(pulls).not_to_have_text(before, timeout=10_000)
        expect(admin.page.locator("#now")).to_contain_text("acme/open")
        admin.shoot("dashboard")


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

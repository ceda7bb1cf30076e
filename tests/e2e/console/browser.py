"""A person at a browser: Debian's Chromium, and checks of every page."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Response, sync_playwright

from tests.e2e.managed import ManagedRegistry
from tests.e2e.programs import PROJECT

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Screenshots for people to look at. They are not committed.
SHOTS = Path(os.environ.get("CONSOLE_SCREENSHOTS", PROJECT / "build" / "screenshots"))
_SERIOUS = ("serious", "critical")
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@cache
def _axe() -> str:
    """Return the script of axe-core. The first call fetches it."""
    done = subprocess.run([PROJECT / ".ci" / "axe"], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip()).read_text()


@dataclass
class Person:
    """A browser window of its own, with the errors in it."""

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", self._refuse_dialog)
        self.page.on("console", self._listen)

    def sign_in(self, name: str, password: str) -> None:
        """Sign in with the form, as any user does."""
        self.go("/sign-in")
        self.page.get_by_label("User name").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.locator("main").get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(re.compile(r"/(dashboard|welcome)?$"))

    def go(self, path: str) -> int:
        """Open a page; returns its status."""
        response: Response | None = self.page.goto(self.url + path)
        assert response is not None
        return response.status

    def see(self, text: str) -> None:
        """Wait until the page shows the text."""
        self.page.get_by_text(text).first.wait_for(timeout=30_000)

    def press(self, name: str, *, exact: bool = False) -> None:
        """Click the button with this name in the content."""
        self.page.locator("main").get_by_role("button", name=name, exact=exact).first.click()

    def open_form(self, name: str) -> None:
        """Click the link with this name that opens a form."""
        self.page.locator("main [data-opens]").get_by_text(name, exact=True).first.click()

    def shoot(self, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True)

    def violations(self, *rules: str) -> list[str]:
        """Return axe-core's serious violations on this page, by these rules or all of WCAG."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(_axe())
        only = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": _RULES}
        # Without the addresses of all elements that pass, it takes less time.
        options = {"runOnly": only, "resultTypes": ["violations"], "preload": False}
        found: dict[str, Any] = self.page.evaluate("options => axe.run(options)", options)
        return [
            f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:3]]}"
            for one in found["violations"]
            if one["impact"] in _SERIOUS
        ]

    def _listen(self, message: Any) -> None:
        # Chromium and htmx report each refusal of the server as an error. The tests expect
        # refusals.
        expected = ("Failed to load resource", "Response Status Error Code 4")
        if message.type == "error" and not message.text.startswith(expected):
            self.errors.append(message.text)

    def _refuse_dialog(self, dialog: Any) -> None:
        self.errors.append(f"a dialog: {dialog.message}")
        dialog.dismiss()


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def person(
    browser: Browser, managed: ManagedRegistry, name: str = "", **options: Any
) -> Iterator[Person]:
    """Yield a browser window, in which the user `name` is signed in. An empty name signs in no
    user. `options` are those of a browser's context.
    """
    context: BrowserContext = browser.new_context(**options)
    visitor = Person(context.new_page(), managed.registry.url)
    try:
        if name:
            visitor.sign_in(name, managed.secrets[name])
        yield visitor
    finally:
        context.close()
    assert not visitor.errors, visitor.errors

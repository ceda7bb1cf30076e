"""Writing a README, reading it, and the page of the management API."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, expect

from tests.e2e.console.browser import person
from tests.e2e.console.conftest import Town

_OPEN = "/repositories/acme/open"
_LONG_LINE = "docker run --option=" + "x" * 400
_README = f"""\
# Use it

- [x] signed
- [ ] **for arm64**, see www.arm.example

{"| variable " * 20}|
{"|---" * 20}|
{"| `PORT` " * 20}|

```sh
{_LONG_LINE}
```

[Back](#use-it) ~~gone~~ https://a.example/b. <img src=x onerror="window.pwned=1">
"""


def test_a_readme_is_previewed_while_it_is_written(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "owen", viewport={"width": 390, "height": 780}) as owen:
        owen.go(f"{_OPEN}/-/settings")
        text, preview = owen.page.locator("#f-readme"), owen.page.locator("#readme-preview")
        text.fill(_README)
        owen.page.get_by_role("tab", name="Preview").click()
        expect(preview.get_by_role("heading", name="Use it")).to_be_visible()
        expect(text).to_be_hidden()
        done = preview.get_by_role("checkbox", name="signed")
        expect(done).to_be_checked()
        expect(done).to_be_disabled()
        expect(preview.get_by_role("checkbox", name="for arm64")).not_to_be_checked()
        assert owen.violations() == []
        # The keyboard leads back to the text, which is still there.
        owen.page.get_by_role("tab", name="Preview").press("ArrowLeft")
        expect(text).to_be_visible()
        expect(owen.page.get_by_role("tab", name="Write")).to_be_focused()
        expect(text).to_have_value(_README)
        text.fill("# Another")
        owen.page.get_by_role("tab", name="Write").press("ArrowRight")
        expect(preview.get_by_role("heading", name="Another")).to_be_visible()
        expect(preview.get_by_role("heading", name="Use it")).to_have_count(0)
        # An error opens the text that it is about.
        set_text = "(area, text) => { area.value = text; }"
        text.evaluate(set_text, "x" * (64 * 1024 + 1))
        owen.page.get_by_role("tab", name="Preview").click()
        owen.press("Save")
        expect(text).to_be_focused()
        expect(text).to_have_attribute("aria-invalid", "true")
        expect(owen.page.get_by_role("tab", name="Write")).to_have_attribute(
            "aria-selected", "true"
        )
        text.evaluate(set_text, _README)
        owen.press("Save")
        owen.page.wait_for_url(re.compile(f"{_OPEN}$"))


def test_a_readme_is_read_as_on_github(browser: Browser, town: Town) -> None:
    town.managed.api("PATCH", "repositories/acme/open", {"longDescription": _README}, "owen")
    options = {"viewport": {"width": 390, "height": 780}, "color_scheme": "dark"}
    with person(browser, town.managed, "", **options) as visitor:
        visitor.go(_OPEN)
        readme = visitor.page.locator("section.readme")
        expect(readme.get_by_role("checkbox", name="signed")).to_be_checked()
        expect(readme.locator("s")).to_have_text("gone")
        expect(readme.get_by_role("link", name="https://a.example/b")).to_be_visible()
        expect(readme.get_by_role("link", name="www.arm.example")).to_be_visible()
        readme.get_by_role("link", name="Back").click()
        assert visitor.page.url.endswith("#readme-use-it")
        expect(readme.locator(":target")).to_contain_text("Use it")
        # Long lines scroll inside their block, also with the keyboard.
        assert visitor.page.evaluate("document.documentElement.scrollWidth") == 390
        for wide in (readme.locator("pre"), readme.locator("table")):
            assert wide.evaluate("node => node.scrollWidth > node.clientWidth")
            expect(wide).to_have_attribute("tabindex", "0")
        assert visitor.page.evaluate("window.pwned") is None
        assert visitor.violations() == []


# Swagger UI takes 4 CPU-seconds to start; in milliseconds.
_START_TIMEOUT = 120_000
_LOOK = "node => [getComputedStyle(node).color, getComputedStyle(node).fontFamily]"


def test_the_api_page_can_be_used_by_everybody(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, viewport={"width": 390, "height": 900}) as visitor:
        visitor.go("/api/docs#/accounts/create_account")
        operation = visitor.page.locator("#operations-accounts-create_account.is-open")
        operation.wait_for(timeout=_START_TIMEOUT)
        operation.get_by_role("button", name="Try it out").click()
        visitor.page.locator(".btn.authorize").first.click()
        expect(visitor.page.get_by_role("button", name="Close").first).to_be_visible()
        assert visitor.violations() == []
        assert visitor.page.evaluate("document.documentElement.scrollWidth") == 390
        visitor.page.emulate_media(color_scheme="dark")
        assert visitor.violations("color-contrast") == []
        # It has the colors and the font of the console.
        looks = [visitor.page.locator(name).evaluate(_LOOK) for name in (".modal-ux", "main")]
        assert looks[0] == looks[1]


def test_operations_are_tried_as_the_user_of_the_session(browser: Browser, town: Town) -> None:
    with person(browser, town.managed, "owen") as owen:
        owen.go("/api/docs#/repositories/update_repository")
        operation = owen.page.locator("#operations-repositories-update_repository.is-open")
        operation.wait_for(timeout=_START_TIMEOUT)
        operation.get_by_role("button", name="Try it out").click()
        operation.get_by_placeholder("namespace").fill("acme")
        operation.get_by_placeholder("repository").fill("open")
        operation.get_by_label("Request body").fill('{"shortDescription": "Tried out"}')
        operation.get_by_role("button", name="Execute").click()
        expect(operation.locator(".live-responses-table")).to_contain_text("Tried out")
        owen.go(_OPEN)
        owen.see("Tried out")

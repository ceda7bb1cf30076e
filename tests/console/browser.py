"""A browser without scripts, in this process: a session, pages, and the forms on them."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

import httpx

from tests.api.managed.town import PASSWORD, Town, session_cookie

ORIGIN = "http://registry"


@dataclass
class Form:
    """A form of a page: its address, and its fields with their values on the page."""

    action: str
    method: str
    fields: dict[str, list[str]] = field(default_factory=dict)

    @property
    def operation(self) -> str:
        return self.action.removeprefix("/do/")

    def add(self, name: str, value: str) -> None:
        self.fields.setdefault(name, []).append(value)


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._open = False
        self._select = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get")))
            self._open = True
        elif self._open and tag == "input" and given.get("name"):
            if given.get("type") not in ("checkbox", "radio") or "checked" in given:
                self.forms[-1].add(given["name"], given.get("value", ""))
        elif self._open and tag == "select":
            self._select = given.get("name", "")
        elif self._open and tag == "option" and self._select:
            value = self.forms[-1].fields.setdefault(self._select, [given.get("value", "")])
            if "selected" in given:
                value[:] = [given.get("value", "")]
        elif self._open and tag == "textarea" and given.get("name"):
            self.forms[-1].add(given["name"], "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = False
        elif tag == "select":
            self._select = ""


def forms_of(text: str) -> list[Form]:
    """Return the forms that change data."""
    parser = _Forms()
    parser.feed(text)
    return [form for form in parser.forms if form.method == "post"]


def form_in(page: str, operation: str, number: int = 0) -> Form:
    """Return a form of the page by its operation."""
    return [form for form in forms_of(page) if form.operation == operation][number]


def control_in(page: str, name: str) -> str:
    """Return the start tag of a control that the user sees, and the markup up to the next one."""
    found = re.search(rf'<\w+ (?![^>]*type="hidden")[^>]*name="{re.escape(name)}"[^>]*>', page)
    assert found is not None, name
    return page[found.start() :].partition('class="field"')[0]


def text_of(page: str) -> str:
    """Return the words of a page."""
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", page)).split())


def with_areas(page: str, form: Form) -> Form:
    """Return the form with the contents of its text areas."""
    areas: dict[str, list[str]] = {}
    found = re.findall(r'<textarea[^>]* name="([^"]*)"[^>]*>\n?(.*?)</textarea>', page, re.DOTALL)
    for name, text in found:
        areas.setdefault(name, []).append(html.unescape(text))
    form.fields |= {name: values for name, values in areas.items() if name in form.fields}
    return form


class Browser:
    """A browser of a user of a town, signed in; anonymous without a name."""

    def __init__(self, town: Town, name: str = "", password: str = PASSWORD) -> None:
        self._town = town
        self._cookie = ""
        self.csrf = ""
        self.name = name
        if name:
            answer = self.post("/sign-in", {"username": name, "password": password})
            assert answer.status_code == 303, answer.text
            self._cookie = session_cookie(answer).partition(";")[0]
            self.csrf = next(
                form.fields["csrf"][0]
                for form in forms_of(self.get("/repositories").text)
                if "csrf" in form.fields
            )

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self._send("GET", path, None, headers)

    def post(
        self, path: str, fields: dict[str, str] | dict[str, list[str]], **headers: str
    ) -> httpx.Response:
        return self._send("POST", path, fields, {"origin": ORIGIN, **headers})

    def act(self, operation: str, fields: dict[str, list[str]], **headers: str) -> httpx.Response:
        """Send a form with the CSRF token of this session."""
        return self.post(f"/do/{operation}", {**fields, "csrf": [self.csrf]}, **headers)

    def _send(
        self, method: str, path: str, fields: object, headers: dict[str, str]
    ) -> httpx.Response:
        if self._cookie:
            others = headers.get("cookie", "")
            headers = {**headers, "cookie": f"{self._cookie}; {others}".rstrip("; ")}
        headers = {"accept": "text/html", **headers}
        answer = self._town.client.request(method, path, data=fields, headers=headers)
        self._town.client.forget_cookies()
        return answer

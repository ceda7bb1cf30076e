"""Refilling: a page whose form shows again what the user entered, with the errors at the fields.

A refused form is shown on its own page. The page is rendered as ever, and then this module writes
the entered values into the form. So no template has to know about it, and no form can forget a
value. Passwords and private keys are never written back, and the message says so. Only the lines of
an import keep theirs: they are the text of its one field.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser

from dtrfast.identity.settings import HIDDEN

# Fields that are never sent back to a browser, by the last part of their names.
_SECRETS = frozenset({"password", "oldPassword", "newPassword", "searchPassword", "key"})
# Fields that control the submission. `key` is one of them, and `body.key` a private key.
_OWN = frozenset({"csrf", "key"})
# Elements that hide their content until they are opened.
_CLOSED = frozenset({"details", "dialog"})
_UNFILLED = frozenset({"hidden", "password", "file", "submit", "button"})
Attributes = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class FieldNote:
    """An error at a field. `controls` are names of controls, of which the first on the page counts.
    `label` names the field if none of them is there.
    """

    controls: tuple[str, ...]
    label: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refill:
    """The text of a form, for its page.

    `action` is the form's address, and `address` that of the page. `message` stands at the top of
    the form; `level` is its kind of notice.
    """

    action: str
    address: str
    form: Mapping[str, list[str]]
    notes: tuple[FieldNote, ...] = ()
    message: str = ""
    level: str = "error"


def without_secrets(form: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the fields of a form that may be kept. A secret that the user entered is empty."""
    return {
        name: [_without_secret(value) for value in values] if is_secret(name) else values
        for name, values in form.items()
        if name != "csrf"
    }


def _without_secret(value: str) -> str:
    # `HIDDEN` keeps the stored secret, and an empty text removes it.
    return value if value == HIDDEN else ""


def secrets_again(form: Mapping[str, list[str]]) -> str:
    """Return a sentence that asks for the form's secrets again; empty if the user entered none."""
    entered = {
        name.rpartition(".")[2]
        for name, values in form.items()
        if is_secret(name) and any(_without_secret(value) != value for value in values)
    }
    if not entered:
        return ""
    secret = "private key" if entered == {"key"} else "password"
    return f"Enter the {secret if len(entered) == 1 else 'passwords'} again."


def is_secret(name: str) -> bool:
    """Return True for a field whose value is never kept."""
    return name not in _OWN and name.rpartition(".")[2] in _SECRETS


def fill(page: str, refill: Refill) -> str | None:
    """Return the page with the filled form; None if the page does not have the form."""
    survey = _Survey()
    survey.feed(page)
    survey.close()
    chosen = max(survey.forms, key=lambda one: one.likeness(refill), default=None)
    if chosen is None or chosen.likeness(refill) < 0:
        return None
    filler = _Filler(refill, chosen)
    filler.feed(page)
    filler.close()
    return "".join(filler.out)


@dataclass
class _Form:
    """A form of the page. `number` is its place among the forms. `fixed` are its hidden pieces of
    the path, and `visible` the names of controls that the user sees.
    """

    number: int
    actions: set[str]
    names: set[str] = field(default_factory=set)
    visible: set[str] = field(default_factory=set)
    fixed: dict[str, set[str]] = field(default_factory=dict)

    def likeness(self, refill: Refill) -> int:
        """Return a number that is greater the more the form is like the sent one; negative for
        another form.
        """
        is_other = any(set(refill.form.get(name, ())) != kept for name, kept in self.fixed.items())
        if refill.action not in self.actions or is_other:
            return -1
        # A row's form is for one object, so it is more like the sent one than that for any object.
        return max(0, 10_000 - 10 * len(self.names ^ set(refill.form))) + len(self.fixed)


class _Survey(HTMLParser):
    """Finds the forms of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.forms: list[_Form] = []
        self._open: _Form | None = None

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        name = given.get("name") or ""
        if tag == "form":
            self._open = _Form(len(self.forms), {given.get("action") or ""})
            self.forms.append(self._open)
        elif self._open is not None and "formaction" in given:
            self._open.actions.add(given["formaction"] or "")
        elif self._open is not None and name:
            self._open.names.add(name)
            if given.get("type") != "hidden":
                self._open.visible.add(name)
            elif name.startswith("path."):
                self._open.fixed.setdefault(name, set()).add(given.get("value") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None


class _Filler(HTMLParser):
    """Copies a page to `out`, and changes one form of it."""

    def __init__(self, refill: Refill, chosen: _Form) -> None:
        super().__init__(convert_charrefs=False)
        self.out: list[str] = []
        self._refill = refill
        self._chosen = chosen
        self._forms = 0
        self._is_in = False
        # Start tags around this place that may be closed, with their places in `out`.
        self._around: list[tuple[int, str, Attributes]] = []
        kept = without_secrets(refill.form)
        self._values = {name: list(values) for name, values in kept.items()}
        self._option: str | None = None  # the value of the select around this place
        self._skips = False  # the old content of a text area
        self._behind = ""  # the error that belongs behind the present control
        self._errors, self._message = _places(refill, chosen)
        self._has_focus = False

    # ---- copying ----------------------------------------------------------------------------
    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag in _CLOSED:
            self._around.append((len(self.out), tag, given))
        if tag == "form":
            self._start_form(given)
        elif self._is_in and tag in ("input", "select", "textarea", "option"):
            self._fill(tag, given)
        else:
            self.out.append(self.get_starttag_text() or "")

    def handle_endtag(self, tag: str) -> None:
        if tag in _CLOSED and self._around:
            self._around.pop()
        self._skips = self._skips and tag != "textarea"
        self._is_in = self._is_in and tag != "form"
        self.out.append(f"</{tag}>")
        if tag in ("textarea", "select"):
            self._option = None
            self._end_control()

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.out.append(self.get_starttag_text() or "")  # a shape in a drawing, never a control

    def handle_data(self, data: str) -> None:
        if not self._skips:
            self.out.append(data)

    def handle_entityref(self, name: str) -> None:
        self.handle_data(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.handle_data(f"&#{name};")

    def handle_comment(self, data: str) -> None:
        self.out.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.out.append(f"<!{decl}>")

    # ---- changing ---------------------------------------------------------------------------
    def _start_form(self, given: Attributes) -> None:
        self._is_in = self._forms == self._chosen.number
        self._forms += 1
        # The browser shows this page at another address, so a form needs its own.
        given.setdefault("action", self._refill.address.partition("?")[0])
        if not self._is_in:
            self.out.append(_tag("form", given))
            return
        self.out.append(_tag("form", given | {"data-address": self._refill.address}))
        self._open_around()
        if self._message:
            level = self._refill.level
            shown: Attributes = {"class": f"notice {level} form-error", "tabindex": "-1"}
            shown |= {"role": "alert" if level == "error" else "status"}
            shown |= {} if self._errors else {"autofocus": None}
            self.out.append(f"{_tag('p', shown)}{html.escape(self._message)}</p>")

    def _fill(self, tag: str, given: Attributes) -> None:
        """Write a start tag with the value that was entered."""
        name, kind = given.get("name") or "", given.get("type") or "text"
        content = ""
        if tag == "option":
            if self._option is not None and "value" in given:
                _set(given, "selected", given["value"] == self._option)
        elif kind in ("checkbox", "radio"):
            _set(given, "checked", given.get("value") in self._refill.form.get(name, ()))
        elif _is_filled(name, kind) and self._values.get(name):
            value = self._values[name].pop(0)
            if tag == "input":
                given["value"] = value
            elif tag == "select":
                self._option = value
            else:
                self._skips, content = True, "\n" + html.escape(value.replace("\r\n", "\n"))
        if kind != "hidden":
            self._mark(name, given)
        self.out.append(_tag(tag, given) + content)
        if tag == "input":
            self._end_control()

    def _mark(self, name: str, given: Attributes) -> None:
        """Mark a control that is wrong, and keep the reason for the place behind it."""
        reason = self._errors.pop(name, "")
        if not reason:
            return
        place = f"error-{name.replace('.', '-').replace('[]', '')}"
        given["aria-invalid"] = "true"
        given["aria-describedby"] = f"{given.get('aria-describedby') or ''} {place}".strip()
        if not self._has_focus:
            self._has_focus = True
            given["autofocus"] = None
        self._open_around()
        shown = _tag("span", {"class": "field-error", "id": place})
        self._behind = f"{shown}{html.escape(reason)}</span>"

    def _end_control(self) -> None:
        self.out.append(self._behind)
        self._behind = ""

    def _open_around(self) -> None:
        for place, tag, given in self._around:
            self.out[place] = _tag(tag, given | {"open": None})


def _places(refill: Refill, chosen: _Form) -> tuple[dict[str, str], str]:
    """Return the reasons by control, and the message with the errors of fields that the page does
    not have.
    """
    found: dict[str, str] = {}
    others: list[str] = []
    for note in refill.notes:
        name = next((one for one in note.controls if one in chosen.visible), "")
        if name:
            found[name] = f"{found.get(name, '')} {note.reason}".strip()
        else:
            others.append(f"{note.label}: {note.reason}" if note.label else note.reason)
    return found, " ".join([*others, refill.message]).strip()


def _is_filled(name: str, kind: str) -> bool:
    # The old values belong to the object as it was when the user opened the form (`edits`).
    # An entered secret is emptied: the sign for the stored one would silently keep that.
    return name == "seen" or is_secret(name) or kind not in _UNFILLED


def _set(given: Attributes, name: str, is_set: bool) -> None:
    given.pop(name, None)
    if is_set:
        given[name] = None


def _tag(tag: str, given: Attributes) -> str:
    pieces = (
        f" {name}" if value is None else f' {name}="{html.escape(value)}"'
        for name, value in given.items()
    )
    return f"<{tag}{''.join(pieces)}>"

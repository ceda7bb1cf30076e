"""A change of settings, shown before it is made: what is now, and what would be."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from dtrfast.api.v0.asking import convert_query
from dtrfast.api.v0.operation import Operation
from dtrfast.api.v0.router import OPERATIONS
from dtrfast.console import forms, labels, texts
from dtrfast.console.page import Page, View
from dtrfast.errors import NotFound

_READERS = {o.path: o for o in OPERATIONS if o.method == "GET"}
_SECRETS = frozenset({"key", "password", "searchPassword", "oldPassword", "newPassword"})
_TEXT_LENGTH_MAX = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """A field of a document, before and after; empty where there is none."""

    field: str
    before: str
    after: str

    @property
    def label(self) -> str:
        """What its form calls it."""
        return labels.of_field(self.field)


def review(
    page: Page,
    operation: Operation,
    path: Mapping[str, str],
    body: object,
    *,
    is_again: bool = False,
) -> View:
    """What would change. The page has the form once more, to carry it out. `is_again`: something
    else was shown before. Raises what the operation would raise of the document.
    """
    before, after = _documents(page, operation, path, body)
    if operation.check is not None:
        operation.check(page.asker.call(path, None, body))
    values = {
        "differences": compare(before, after),
        "operation": operation,
        "fields": forms.fields_again(page.form),
        "reviewed": _name_of(before, after),
        "is_again": is_again,
    }
    template = "fragments/difference.html" if page.is_fragment else "difference.html"
    return View(template, values)


def is_stale(page: Page, operation: Operation, path: Mapping[str, str], body: object) -> bool:
    """Whether a form that was reviewed would do something else than what was shown: it was edited
    since, or somebody else changed the settings.
    """
    reviewed = page.form.get("reviewed", [""])[-1]
    # Another button of the form may only try what is in it.
    if not reviewed or operation.method not in ("PUT", "PATCH"):
        return False
    return reviewed != _name_of(*_documents(page, operation, path, body))


def _documents(
    page: Page, operation: Operation, path: Mapping[str, str], body: object
) -> tuple[Any, Any]:
    """What is now, and what would be. Where fields may be left out, those stay as they are."""
    reader = _READERS.get(operation.path)
    before: Any = {}
    if reader is not None:
        try:
            call = page.asker.call(path, convert_query(reader, {}), None)
            before = msgspec.to_builtins(reader.handler(call))
        except NotFound:
            before = {}
    after = msgspec.to_builtins(body)
    if operation.method == "PATCH":
        before = {name: value for name, value in before.items() if name in after}
    return before, after


def _name_of(before: Any, after: Any) -> str:
    return hashlib.sha256(msgspec.json.encode([before, after], order="sorted")).hexdigest()[:32]


def compare(before: Any, after: Any) -> list[Difference]:
    """The fields that differ, by their names with dots."""
    old, new = dict(_flat(before)), dict(_flat(after))
    return [
        Difference(name, _shown(name, old.get(name)), _shown(name, new.get(name)))
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]


def _flat(value: Any, name: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        pairs = [(f"{name}.{key}".lstrip("."), inner) for key, inner in value.items()]
    elif isinstance(value, (list, tuple)):
        pairs = [(f"{name}.{number}", inner) for number, inner in enumerate(value, start=1)]
    else:
        return [(name, value)]
    return [row for inner_name, inner in pairs for row in _flat(inner, inner_name)]


def _shown(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name.rpartition(".")[2] in _SECRETS and value:
        return "(hidden)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        text = f"{value:.15g}"
        return f"{text} ({texts.size(value)})" if "Bytes" in name else text
    return str(value)[:_TEXT_LENGTH_MAX]

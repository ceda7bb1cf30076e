"""A change of settings, shown before it is made: what is now, and what would be."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from dtrfast.api.v0.asking import convert_query
from dtrfast.api.v0.differences import compare
from dtrfast.api.v0.operation import Operation
from dtrfast.api.v0.router import OPERATIONS
from dtrfast.console import forms
from dtrfast.console.page import Page, View
from dtrfast.errors import NotFound

_READERS = {o.path: o for o in OPERATIONS if o.method == "GET"}


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

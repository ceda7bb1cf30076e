"""Reviews: a change, shown as a difference before it is applied."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from dtrfast.api.v0.operation import Operation
from dtrfast.console import caps, edits, forms, labels, quantities, refusals
from dtrfast.console.edits import Edit
from dtrfast.console.page import PageRequest, View
from dtrfast.identity.differences import compare

# Longer texts are shown below each other, and as a whole.
_LINE_LENGTH_MAX = 120


@dataclass(frozen=True, slots=True)
class _Change:
    """A changed field in words. `is_long`: the texts need the width of the page."""

    label: str
    before: str
    after: str
    is_long: bool


def review(
    page: PageRequest,
    operation: Operation,
    path: Mapping[str, str],
    edit: Edit,
    *,
    is_again: bool = False,
) -> View:
    """Return the difference, with the form to apply it.

    `is_again` tells the user that the difference is not the one that was shown before. Raises the
    errors that the operation would raise for the body.
    """
    before, after = _documents(page, operation, path, edit.body)
    if operation.check is not None:
        operation.check(page.client.call(path, None, edit.body))
    values = {
        "changes": _changes(before, after),
        "conflicts": [labels.text_of(name).label for name in edit.conflicts],
        "notes": caps.notes(page, edit.body),
        "operation": operation,
        "fields": forms.fields_again(page.form),
        "reviewed": _fingerprint(before, after),
        "at": refusals.page_of(page.form),
        "is_again": is_again,
    }
    template = "fragments/difference.html" if page.is_fragment else "difference.html"
    return View(template, values)


def is_stale(
    page: PageRequest, operation: Operation, path: Mapping[str, str], body: object
) -> bool:
    """Return True if applying a reviewed form would change something else than the review showed:
    the form was edited since, or the settings were changed by another session.
    """
    reviewed = page.form.get("reviewed", [""])[-1]
    # Another button of the same form may only test its settings.
    if not reviewed or operation.method not in ("PUT", "PATCH"):
        return False
    return reviewed != _fingerprint(*_documents(page, operation, path, body))


def _documents(
    page: PageRequest, operation: Operation, path: Mapping[str, str], body: object
) -> tuple[Any, Any]:
    """Return the object before and after the operation. A PATCH leaves out unchanged fields, so the
    object before it is reduced to the fields in the body.
    """
    now = edits.read(page, operation, path)
    before = {} if now is None else msgspec.to_builtins(now)
    after = msgspec.to_builtins(body)
    if operation.method == "PATCH":
        before = {name: value for name, value in before.items() if name in after}
    return before, after


def _changes(before: Any, after: Any) -> list[_Change]:
    found = []
    for one in compare(before, after):
        # The comparison cuts texts, but the user decides between two whole ones.
        old = _text(one.field, one.before, before.get(one.field))
        new = _text(one.field, one.after, after.get(one.field))
        is_long = any("\n" in text or len(text) > _LINE_LENGTH_MAX for text in (old, new))
        found.append(_Change(labels.of_field(one.field), old, new, is_long))
    return found


def _text(field: str, shown: str, value: object) -> str:
    """Return the text of a value: sizes with their units, and texts in full, unless hidden."""
    is_beginning = isinstance(value, str) and len(value) > len(shown) and value.startswith(shown)
    return str(value) if shown and is_beginning else quantities.shown(field, shown)


def _fingerprint(before: Any, after: Any) -> str:
    return hashlib.sha256(msgspec.json.encode([before, after], order="sorted")).hexdigest()[:32]

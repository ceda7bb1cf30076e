"""The differences of two documents, as readers see them: secrets are hidden, and texts are cut."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import msgspec

from dtrfast.identity.events import Detail

_SECRETS = frozenset({"key", "password", "searchPassword", "oldPassword", "newPassword"})
_TEXT_LENGTH_MAX = 200
# Fields of one audit event. A document may have any number of issuers or user sets.
_FIELDS_MAX = 50


@dataclass(frozen=True, slots=True)
class Difference:
    """A changed field of a document, with its texts before and after; empty for a missing field."""

    field: str
    before: str
    after: str


def compare(before: Any, after: Any) -> list[Difference]:
    """Return the fields that differ between two documents of JSON values.

    The name of a field has the names of its parents, with dots.
    """
    old, new = dict(_flat(before)), dict(_flat(after))
    return [
        Difference(name, _shown(name, old.get(name)), _shown(name, new.get(name)))
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]


def _flat(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """Return the simple values in a document, with their full names."""
    if isinstance(value, dict):
        pairs = [(f"{name}.{key}".lstrip("."), inner) for key, inner in value.items()]
    elif isinstance(value, (list, tuple)):
        pairs = [(f"{name}.{number}", inner) for number, inner in enumerate(value, start=1)]
    else:
        return [(name, value)]
    return [row for inner_name, inner in pairs for row in _flat(inner, inner_name)]


def _shown(name: str, value: Any) -> str:
    """Return the text of a value."""
    if value is None:
        return ""
    if name.rpartition(".")[2] in _SECRETS and value:
        return "(hidden)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.15g}"
    return str(value)[:_TEXT_LENGTH_MAX]


def event_detail(before: msgspec.Struct | None, after: msgspec.Struct) -> Detail:
    """Return the fields that differ, for an audit event: the value before, an arrow, the value now.

    Without `before`, the defaults stand for it.
    """
    if before is None:
        with contextlib.suppress(TypeError):  # a document with required fields has no default
            before = type(after)()
    old: Any = {} if before is None else msgspec.to_builtins(before)
    found = compare(old, msgspec.to_builtins(after))
    detail: Detail = {one.field: f"{one.before} → {one.after}" for one in found[:_FIELDS_MAX]}
    if len(found) > _FIELDS_MAX:
        detail["more fields"] = len(found) - _FIELDS_MAX
    return detail

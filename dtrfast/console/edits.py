"""Edits of objects that another session may have changed since the form was opened.

A form that changes an object carries a short hash of each field as it was shown (`seen`). So the
console knows which fields this user changed, and which fields changed in the meantime. Only the
former are written. A field that both changed is a conflict, and the user decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from dtrfast.api.v0.execution import convert_query
from dtrfast.api.v0.operation import Operation
from dtrfast.api.v0.router import OPERATIONS
from dtrfast.console import forms
from dtrfast.console.page import BY_ID, PageRequest
from dtrfast.errors import NotFound

_READERS = {o.path: o for o in OPERATIONS if o.method == "GET"}
_HASH_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Edit:
    """The body that an operation gets.

    `conflicts` are the fields that both sessions changed. `is_empty`: the user changed nothing.
    """

    body: Any
    conflicts: tuple[str, ...] = ()
    is_empty: bool = False


def seen_fields(operation: str, current: msgspec.Struct | None) -> list[str]:
    """Return the fields of an object with their hashes, for the form that changes it."""
    body = BY_ID[operation].body
    if current is None or body is None:
        return []
    names = {one.name: one.encode_name for one in msgspec.structs.fields(body)}
    return [
        f"{shown}:{_hash(getattr(current, name))}"
        for name, shown in names.items()
        if getattr(current, name, msgspec.UNSET) is not msgspec.UNSET
    ]


def read(page: PageRequest, operation: Operation, path: Mapping[str, str]) -> Any:
    """Return the object that an operation changes, as this user sees it; None if there is none."""
    reader = _READERS.get(operation.path)
    if reader is None:
        return None
    try:
        return reader.run(page.client.call(path, convert_query(reader, {}), None))
    except NotFound:
        return None


def merge(page: PageRequest, operation: Operation, path: Mapping[str, str], body: Any) -> Edit:
    """Return the edit of a form: the user's changes, and all else as it is now."""
    seen = dict(one.rpartition(":")[::2] for one in page.form.get("seen", ()))
    if not seen or operation.method not in ("PUT", "PATCH"):
        return Edit(body)
    now = read(page, operation, path)
    if now is None:
        return Edit(body)
    sent = forms.fields_in(page.form, operation.id)
    kept = msgspec.UNSET if operation.method == "PATCH" else None
    unchanged: dict[str, Any] = {}
    conflicts = []
    for one in msgspec.structs.fields(type(body)):
        mine, theirs = getattr(body, one.name), getattr(now, one.name, msgspec.UNSET)
        if theirs is msgspec.UNSET:
            continue  # this user may not see it
        shown = seen.get(one.encode_name)
        if one.encode_name not in sent or _hash(mine) in (shown, _hash(theirs)):
            unchanged[one.name] = theirs if kept is None else kept
        elif shown is not None and shown != _hash(theirs):
            conflicts.append(one.encode_name)
    changed = len(msgspec.structs.fields(type(body))) - len(unchanged)
    merged = msgspec.structs.replace(body, **unchanged)
    return Edit(merged, tuple(conflicts), is_empty=not changed)


def _hash(value: Any) -> str:
    """Return the same text for equal values, of an object and of a request's body alike."""
    document = msgspec.to_builtins(value)
    plain = float(document) if type(document) is int else document
    data = msgspec.json.encode(plain, order="sorted")
    return hashlib.sha256(data).hexdigest()[:_HASH_LENGTH]

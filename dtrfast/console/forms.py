"""Forms: from the fields that a browser sends to the path and body of an operation.

A field `path.NAME` is a piece of the operation's path, `body.NAME` a field of its body. A dot in
NAME leads into a group, and numbers as names make a list. The last value of a name counts: a hidden
field before a check box gives the value of the unchecked box. A `path.NAME` with several values
makes several calls.

Four more fields control the conversion:

* `typed` names a piece of the path that the user typed: a repository, maybe with its namespace.
* `key` names a field of a list's rows (`userSets.baseDn`) or of a group. A row or group whose key
  is empty is left out.
* `only.OPERATION.NAME` is `body.NAME` for one of the operations that the form's buttons start.
* `unit.body.NAME` is the unit of a number (`quantities`).
* `fields.OPERATION` names a field of the body. The operation gets only the fields named so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from dtrfast.console import quantities
from dtrfast.errors import SettingsInvalid

_FIELDS_MAX = 5000
_QUERY_FIELDS_MAX = 1000
_DEPTH_MAX = 6
_INDEX_DIGITS_MAX = 3


def parse(data: bytes) -> dict[str, list[str]]:
    """Return the values of each field of a form. Raises `SettingsInvalid`."""
    try:
        text = data.decode("ascii")
        return parse_qs(text, keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError as error:
        raise SettingsInvalid("the form is not encoded as browsers do it") from error


def query_of(text: str) -> dict[str, list[str]]:
    """Return all values of each name in the query of an address; empty if it has too many."""
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=_QUERY_FIELDS_MAX)
    except ValueError:
        return {}


def paths_in(form: Mapping[str, list[str]]) -> list[dict[str, str]]:
    """Return the pieces of the path of each call: one call for each value of a piece.

    Raises `SettingsInvalid` for pieces with different numbers of values, unless the number is one.
    """
    pieces = {name[5:]: values for name, values in form.items() if name.startswith("path.")}
    for name in form.get("typed", ()):
        start = f"{pieces.get('namespace', [''])[0]}/"
        pieces[name] = [value.strip().removeprefix(start) for value in pieces.get(name, ())]
    count = max((len(values) for values in pieces.values()), default=1)
    if any(len(values) not in (1, count) for values in pieces.values()):
        raise SettingsInvalid("the form has pieces of paths that do not match")
    return [
        {name: values[number if len(values) > 1 else 0] for name, values in pieces.items()}
        for number in range(count)
    ]


# Fields that control the submission and are set anew by each form.
_OWN = frozenset({"csrf", "review", "reviewed", "confirmed"})


def fields_again(form: Mapping[str, list[str]]) -> list[tuple[str, str]]:
    """Return names and values of the fields, for a form that sends them again."""
    return [(name, value) for name, values in form.items() if name not in _OWN for value in values]


def body_in(form: Mapping[str, list[str]], operation: str = "") -> Any:
    """Return the document of the fields `body.…` and `only.OPERATION.…`.

    Raises `SettingsInvalid` for contradictory and too deeply nested fields.
    """
    return _with_lists(_grouped(form, operation))


def _grouped(form: Mapping[str, list[str]], operation: str) -> dict[str, Any]:
    """Return the document with groups whose keys are numbers in place of lists."""
    document: dict[str, Any] = {}
    for name, values in form.items():
        start = _start_of(name, operation)
        if not start:
            continue
        *groups, last = keys = name.removeprefix(start).split(".")
        if len(keys) > _DEPTH_MAX:
            raise SettingsInvalid(f"the field {name[:80]!r} is nested too deeply")
        group = document
        for key in groups:
            group = group.setdefault(key, {})
            if not isinstance(group, dict):
                raise SettingsInvalid("the form has a field that is both a text and a group")
        group[last.removesuffix("[]")] = _value_of(form, name, values)
    if wanted := form.get(f"fields.{operation}"):
        document = {name: value for name, value in document.items() if name in wanted}
    for key in form.get("key", ()):
        _drop_rows(document, key)
    return document


def _start_of(name: str, operation: str) -> str:
    """Return the beginning of a field's name if it belongs to the body; empty for other fields."""
    return next((s for s in ("body.", f"only.{operation}.") if name.startswith(s)), "")


def _value_of(form: Mapping[str, list[str]], name: str, values: list[str]) -> Any:
    if name.endswith("[]"):
        return [value for value in values if value]
    # Browsers end the lines of a text area with CRLF.
    text = values[-1].replace("\r\n", "\n")
    unit = form.get(f"unit.{name}", [""])[-1]
    scale = quantities.scale_of(name) if unit else None
    return text if scale is None else quantities.join(text, unit, scale)


def fields_in(form: Mapping[str, list[str]], operation: str) -> frozenset[str]:
    """Return the names of the body's fields that the form has, also of groups that it leaves
    out.
    """
    starts = ((name, _start_of(name, operation)) for name in form)
    return frozenset(
        name.removeprefix(start).partition(".")[0].removesuffix("[]")
        for name, start in starts
        if start
    )


def control_of(form: Mapping[str, list[str]], operation: str, field: str) -> str:
    """Return the name of the control for a field of the body: `body.userSets.1.baseDn` for
    `userSets[0].baseDn` if the first row of the form was left empty. If the body has no such
    control, it is that of a piece of the path: `path.trust` for `trust`.
    """
    group: Any = _grouped(form, operation)
    keys: list[str] = []
    for piece in re.findall(r"[^.\[\]]+", field):
        key = piece
        if piece.isdecimal() and isinstance(group, dict):
            rows = sorted((k for k in group if k.isdecimal()), key=int)
            kept = [k for k in rows if not _is_blank(_with_lists(group[k]))]
            key = kept[int(piece)] if int(piece) < len(kept) else piece
        group = group.get(key) if isinstance(group, dict) else None
        keys.append(key)
    name = ".".join(keys)
    starts = ("body.", f"only.{operation}.")
    known = (f"{start}{name}{end}" for start in (*starts, "path.") for end in ("", "[]"))
    return next((one for one in known if one in form), f"body.{name}")


def _drop_rows(document: dict[str, Any], key: str) -> None:
    """Remove the rows of a list, or the group, whose key is empty."""
    name, _, field = key.partition(".")
    rows = document.get(name)
    if isinstance(rows, dict) and field in rows:
        if not str(rows[field]).strip():
            del document[name]
    elif isinstance(rows, dict):
        document[name] = {
            index: row
            for index, row in rows.items()
            if not isinstance(row, dict) or str(row.get(field, "")).strip()
        } or []


def _with_lists(document: Any) -> Any:
    """Return the document with lists in place of groups whose keys are numbers, without blank
    entries.
    """
    if not isinstance(document, dict):
        return document
    inner = {key: _with_lists(value) for key, value in document.items()}
    if not inner or not all(key.isdecimal() and len(key) <= _INDEX_DIGITS_MAX for key in inner):
        return inner
    ordered = [inner[key] for key in sorted(inner, key=int)]
    return [value for value in ordered if not _is_blank(value)]


def _is_blank(value: Any) -> bool:
    """Return True if a row of a form was left empty."""
    if isinstance(value, dict):
        return all(_is_blank(v) for v in value.values())
    return value in ("", [])

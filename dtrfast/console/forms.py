"""Forms: from the fields that a browser sends to the path and body of an operation.

A field `path.NAME` is a piece of the operation's path, `body.NAME` a field of its body. A dot in
NAME leads into a group, and numbers as names make a list. The last value of a name counts: a hidden
field before a check box gives the value of the unchecked box. A `path.NAME` with several values
makes several calls.

Three more fields control the conversion:

* `typed` names a piece of the path that the user typed: a repository, maybe with its namespace.
* `key` names a field of a list's rows (`userSets.baseDn`) or of a group. A row or group whose key
  is empty is left out.
* `only.OPERATION.NAME` is `body.NAME` for one of the operations that the form's buttons start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from dtrfast.errors import SettingsInvalid

_FIELDS_MAX = 5000
_DEPTH_MAX = 6
_INDEX_DIGITS_MAX = 3


def parse(data: bytes) -> dict[str, list[str]]:
    """Return the values of each field of a form. Raises `SettingsInvalid`."""
    try:
        text = data.decode("ascii")
        return parse_qs(text, keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError as error:
        raise SettingsInvalid("the form is not encoded as browsers do it") from error


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
    document: dict[str, Any] = {}
    for name, values in form.items():
        start = next((s for s in ("body.", f"only.{operation}.") if name.startswith(s)), None)
        if start is None:
            continue
        *groups, last = keys = name.removeprefix(start).split(".")
        if len(keys) > _DEPTH_MAX:
            raise SettingsInvalid(f"the field {name[:80]!r} is nested too deeply")
        group = document
        for key in groups:
            group = group.setdefault(key, {})
            if not isinstance(group, dict):
                raise SettingsInvalid("the form has a field that is both a text and a group")
        if last.endswith("[]"):
            group[last[:-2]] = [value for value in values if value]
        else:
            # Browsers end the lines of a text area with CRLF.
            group[last] = values[-1].replace("\r\n", "\n")
    for key in form.get("key", ()):
        _drop_rows(document, key)
    return _with_lists(document)


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

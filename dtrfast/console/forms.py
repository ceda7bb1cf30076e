"""Forms: from the fields that a browser sends to what an operation takes.

A field `path.NAME` is a piece of the operation's path, `body.NAME` a field of its body; a dot goes
one level deeper, and numbers make lists. The last value of a name counts, so that an unchecked box
can have a hidden field before it. A `path.NAME` that is given many times means many calls.

A form has three more words. `typed` names a piece of the path that a person typed: a repository,
of which the namespace may stand before it. `key` is a field of the rows of a list, such as
`userSets.baseDn`, or of a group: where it is empty, they do not count. `only.OPERATION.NAME` is
`body.NAME` for one of the operations that the form's buttons ask for.
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
    """The fields of a form. Raises `SettingsInvalid`."""
    try:
        text = data.decode("ascii")
        return parse_qs(text, keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError as error:
        raise SettingsInvalid("this is no form that a browser would send") from error


def paths_in(form: Mapping[str, list[str]]) -> list[dict[str, str]]:
    """The pieces of the path of each call: one call for each value of the piece that has many."""
    pieces = {name[5:]: values for name, values in form.items() if name.startswith("path.")}
    for name in form.get("typed", ()):
        start = f"{pieces.get('namespace', [''])[0]}/"
        pieces[name] = [value.strip().removeprefix(start) for value in pieces.get(name, ())]
    count = max((len(values) for values in pieces.values()), default=1)
    if any(len(values) not in (1, count) for values in pieces.values()):
        raise SettingsInvalid("the form has pieces of paths that do not go together")
    return [
        {name: values[number if len(values) > 1 else 0] for name, values in pieces.items()}
        for number in range(count)
    ]


# What a form says of itself, and not of what it is for.
_OWN = frozenset({"csrf", "review", "reviewed", "confirmed"})


def fields_again(form: Mapping[str, list[str]]) -> list[tuple[str, str]]:
    """The fields as names and values, for a form that is to be sent once more."""
    return [(name, value) for name, values in form.items() if name not in _OWN for value in values]


def body_in(form: Mapping[str, list[str]], operation: str = "") -> Any:
    """The document of the fields `body.…`, and of those for this operation only."""
    document: dict[str, Any] = {}
    for name, values in form.items():
        start = next((s for s in ("body.", f"only.{operation}.") if name.startswith(s)), None)
        if start is not None:
            keys = name.removeprefix(start).split(".")
            if len(keys) > _DEPTH_MAX:
                raise SettingsInvalid(f"the field {name[:80]!r} is nested too deeply")
            _put(document, keys, values)
    for key in form.get("key", ()):
        _drop_rows(document, key)
    return _with_lists(document)


def _drop_rows(document: dict[str, Any], key: str) -> None:
    """Leave out the rows of a list, or the group, whose key was left empty."""
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


def _put(document: dict[str, Any], keys: list[str], values: list[str]) -> None:
    for key in keys[:-1]:
        document = document.setdefault(key, {})
        if not isinstance(document, dict):
            raise SettingsInvalid("the form has a field that is a text and a group")
    last = keys[-1]
    if last.endswith("[]"):
        document[last[:-2]] = [value for value in values if value]
    else:
        document[last] = _plain(values[-1])


def _plain(text: str) -> str:
    """Browsers send lines of a text area with CRLF."""
    return text.replace("\r\n", "\n")


def _with_lists(document: Any) -> Any:
    """Groups whose keys are numbers become lists, in their order; empty entries go."""
    if not isinstance(document, dict):
        return document
    inner = {key: _with_lists(value) for key, value in document.items()}
    if not inner or not all(map(_is_index, inner)):
        return inner
    ordered = [inner[key] for key in sorted(inner, key=int)]
    return [value for value in ordered if not _is_blank(value)]


def _is_index(key: str) -> bool:
    return key.isdecimal() and len(key) <= _INDEX_DIGITS_MAX


def _is_blank(value: Any) -> bool:
    """Whether a row of a form was left empty."""
    if isinstance(value, dict):
        return all(_is_blank(v) for v in value.values())
    return value in ("", [])

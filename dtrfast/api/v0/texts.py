"""Texts that callers send: one line without control characters, unless the field says otherwise.

All readers see these texts: in the console, in terminals, in logs. So each field is checked, also
one that comes later, and what may hold more is named here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dtrfast.errors import SettingsInvalid
from dtrfast.oci import characters

# Never shown, or compared with what is kept and not kept themselves.
_ANY = frozenset(
    {"password", "oldPassword", "newPassword", "searchPassword", "username", "next", "run"}
)
# With lines. A README loses what it must not hold when it is kept.
_LINES = frozenset({"csv", "caPem", "certificate", "key", "longDescription"})


def check(body: object) -> object:
    """The body, if its texts can be shown. Raises `SettingsInvalid`, which names the field."""
    if isinstance(body, msgspec.Struct):
        _check(body, "", "")
    return body


def _check(value: Any, place: str, field: str) -> None:
    if isinstance(value, str):
        if field not in _ANY | _LINES:
            refuse(value, place)
    elif isinstance(value, msgspec.Struct):
        for one in msgspec.structs.fields(value):
            inner = f"{place}.{one.encode_name}" if place else one.encode_name
            _check(getattr(value, one.name), inner, one.encode_name)
    elif isinstance(value, dict):
        for name, inner in value.items():
            # The caller chose this name, so it excepts nothing: a claim may be called `password`.
            refuse(name, place)
            _check(inner, f"{place}.{name}", "")
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            _check(inner, f"{place}[{number}]", field)


def refuse(text: str, place: str) -> None:
    """Raise `SettingsInvalid` for a character that one line must not hold."""
    found = characters.find(text)
    if found:
        raise SettingsInvalid(f"{place}: remove {found}: texts cannot be read with it")

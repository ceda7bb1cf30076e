"""Validation of what clients send: the errors in plain words, and the texts in a body.

All readers see these texts: in the console, in terminals, in logs. So each text is one line without
control characters, unless its field is listed here.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from dtrfast.oci import characters

_PLACE = re.compile(r"^(?P<text>.*?)(?: - at `\$\.?(?P<place>.*)`)?$", re.DOTALL)
# Parts of msgspec's messages, with the words for each. The first match counts.
_WORDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"Expected `int`, got", "give a whole number"),
        (r"Expected `float`, got", "give a number, such as 7 or 0.5"),
        (r"Expected `bool`, got", "give true or false"),
        (r"Expected `(?:int|float)` >= (\S+)", r"give at least \1"),
        (r"Expected `(?:int|float)` <= (\S+)", r"give at most \1"),
        (r"Expected `str` of length >= 1$", "this is missing"),
        (r"Expected `str` of length >= (\d+)", r"give at least \1 characters"),
        (r"Expected `str` of length <= (\d+)", r"give at most \1 characters"),
        (r"Expected `array` of length <= (\d+)", r"give at most \1 of them"),
        (r"Expected `array` of length >= (\d+)", r"give at least \1 of them"),
        (r"Expected `str` matching regex", "this has characters that it may not have"),
        (r"Object missing required field `(.*)`", r"\1 is missing"),
        (r"Object contains unknown field `(.*)`", r"there is no field \1"),
        (r"Invalid enum value (.*)", r"\1 is none of the values that this may have"),
    )
)

# Fields that may hold any character: they are not shown to others.
_ANY = frozenset(
    {"password", "oldPassword", "newPassword", "searchPassword", "username", "next", "run"}
)
# Fields that may have several lines. A README is cleaned before it is stored.
_LINES = frozenset({"csv", "caPem", "certificate", "key", "longDescription"})


def explain(error: msgspec.ValidationError) -> str:
    """Return a message such as `trashDays: give a number`; by default msgspec's own text."""
    found = _PLACE.match(str(error))
    assert found is not None  # every part of the pattern is optional
    text, place = found["text"], found["place"] or ""
    for pattern, words in _WORDS:
        match = pattern.search(text)
        if match is not None:
            text = match.expand(words)
            break
    return f"{place}: {text}" if place else text


def check_texts(body: object) -> object:
    """Return the body if its texts can be shown. Raises `SettingsInvalid` with the field's name."""
    if isinstance(body, msgspec.Struct):
        _check(body, "", "")
    return body


def _check(value: Any, place: str, field: str) -> None:
    if isinstance(value, str):
        if field not in _ANY | _LINES:
            characters.check_line(value, place)
    elif isinstance(value, msgspec.Struct):
        for one in msgspec.structs.fields(value):
            inner = f"{place}.{one.encode_name}" if place else one.encode_name
            _check(getattr(value, one.name), inner, one.encode_name)
    elif isinstance(value, dict):
        for name, inner in value.items():
            # The client chose this name, so it permits nothing: a claim may be called `password`.
            characters.check_line(name, place)
            _check(inner, f"{place}.{name}", "")
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            _check(inner, f"{place}[{number}]", field)

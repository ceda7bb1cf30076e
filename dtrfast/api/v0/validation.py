"""Validation of what clients send: the errors in plain words, and the texts in a body.

All readers see these texts: in the console, in terminals, in logs. So each text is one line without
control characters, unless its field is listed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any

import msgspec
from msgspec import inspect

from dtrfast.errors import FieldProblem
from dtrfast.oci import characters

_PLACE = re.compile(r"^(?P<text>.*?)(?: - at `\$\.?(?P<place>.*)`)?$", re.DOTALL)
# Parts of msgspec's messages, with the words for each. The first match counts.
_WORDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"Expected `int`, got", "give a whole number"),
        (r"Expected `float`, got", "give a number, such as 7 or 0.5"),
        (r"Expected `bool`, got", "give true or false"),
        (r"Expected `(?:int|float)` >= (\S+?)(?:\.0)?$", r"give at least \1"),
        (r"Expected `(?:int|float)` <= (\S+?)(?:\.0)?$", r"give at most \1"),
        (r"Expected `str` of length >= 1$", "this is missing"),
        (r"Expected `str` of length >= (\d+)", r"give at least \1 characters"),
        (r"Expected `str` of length <= (\d+)", r"give at most \1 characters"),
        (r"Expected `(?:array|object)` of length <= (\d+)", r"give at most \1 of them"),
        (r"Expected `array` of length >= (\d+)", r"give at least \1 of them"),
        (r"Expected `str` matching regex", "this has characters that it may not have"),
        (r"Object missing required field `(.*)`", r"\1 is missing"),
        (r"Object contains unknown field `(.*)`", r"there is no field \1"),
        (r"Invalid enum value (.*)", r"\1 is none of the values that this may have"),
    )
)

# More wrong fields than a user mends at once. A long list of them costs time to place in a form.
PROBLEMS_MAX = 30
# Entries of a list that the search for wrong fields looks at, about 5 µs each.
_ENTRIES_MAX = 1000

# Fields that may hold any character: they are not shown to others.
_ANY = frozenset(
    {"password", "oldPassword", "newPassword", "searchPassword", "username", "next", "run"}
)
# Fields that may have several lines. A README is cleaned before it is stored.
_LINES = frozenset({"csv", "caPem", "certificate", "key", "longDescription"})


def explain(error: msgspec.ValidationError) -> str:
    """Return a message such as `trashDays: give a number`; by default msgspec's own text."""
    problem = _problem(error)
    return str(problem) if problem.field else problem.reason


def _problem(error: msgspec.ValidationError) -> FieldProblem:
    found = _PLACE.match(str(error))
    assert found is not None  # every part of the pattern is optional
    text = found["text"]
    for pattern, words in _WORDS:
        match = pattern.search(text)
        if match is not None:
            text = match.expand(words)
            break
    return FieldProblem(found["place"] or "", text)


def problems_of(document: object, kind: type, *, strict: bool) -> list[FieldProblem]:
    """Return the wrong fields of a document of JSON values, where msgspec tells the first only.

    `strict` is that of `msgspec.convert`. The list is empty if the fault is none of a field. The
    search stops after `PROBLEMS_MAX` of them: it runs on the event loop, on documents of megabytes.
    """
    return list(islice(_problems(document, kind, "", strict), PROBLEMS_MAX))


def _problems(value: object, kind: Any, place: str, strict: bool) -> Iterator[FieldProblem]:
    try:
        msgspec.convert({"value": value}, _holder(kind), strict=strict)
    except msgspec.ValidationError as error:
        one = _problem(error)
    else:
        return
    inner = _inner_problems(value, kind, place, strict)
    first = next(inner, None)
    if first is not None:
        yield first
        yield from inner
        return
    below = one.field.removeprefix("value").lstrip(".")
    separator = "." if place and below and not below.startswith("[") else ""
    if place or below:
        yield FieldProblem(f"{place}{separator}{below}", one.reason)


def _inner_problems(value: object, kind: Any, place: str, strict: bool) -> Iterator[FieldProblem]:
    """Yield the problems of the fields of an object, or of the entries of a list of objects."""
    known = inspect.type_info(kind)
    if isinstance(known, inspect.UnionType):
        structs = [one for one in known.types if isinstance(one, inspect.StructType)]
        known = structs[0] if structs and isinstance(value, dict) else known
    if isinstance(known, inspect.StructType) and isinstance(value, dict):
        for one in msgspec.structs.fields(known.cls):
            name = one.encode_name
            inner = f"{place}.{name}" if place else name
            if name in value:
                yield from _problems(value[name], one.type, inner, strict)
            elif one.required:
                yield FieldProblem(inner, "this is missing")
    elif (
        isinstance(known, inspect.ListType | inspect.VarTupleType)
        and isinstance(known.item_type, inspect.StructType)
        and isinstance(value, list)
    ):
        for number, entry in enumerate(islice(value, _ENTRIES_MAX)):
            yield from _problems(entry, known.item_type.cls, f"{place}[{number}]", strict)


@cache
def _holder(kind: Any) -> type:
    """Return a class with a field of this type: some types occur in a class only."""
    return msgspec.defstruct("_Holder", [("value", kind)])


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

"""What is wrong with a document, in words for whoever wrote it.

msgspec says it exactly, for programmers; its texts are the only ones that tell what was expected.
"""

from __future__ import annotations

import re

import msgspec

_PLACE = re.compile(r"^(?P<text>.*?)(?: - at `\$\.?(?P<place>.*)`)?$", re.DOTALL)
# The first that fits counts.
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


def explain(error: msgspec.ValidationError) -> str:
    """`trashDays: give a number`; msgspec's own text where there are no words for it."""
    found = _PLACE.match(str(error))
    assert found is not None  # every part of the pattern is optional
    text, place = found["text"], found["place"] or ""
    for pattern, words in _WORDS:
        match = pattern.search(text)
        if match is not None:
            text = match.expand(words)
            break
    return f"{place}: {text}" if place else text

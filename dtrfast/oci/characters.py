"""Characters that a text of people must not hold, because readers would see something else.

Control characters move a terminal's cursor, direction-changing ones turn a line around, and
invisible ones make two names look the same. Joiners (U+200C, U+200D) stay: scripts and emoji need
them.
"""

from __future__ import annotations

import re
import unicodedata

REPLACEMENT = "\ufffd"

# C0 and C1 but for tab and the ends of lines, soft hyphen, letter mark and Hangul fillers, zero
# width and direction marks, embeddings and isolates, invisible operators, interlinear annotations,
# byte order mark, surrogates, tags.
_UNSAFE = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e"
    "\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff"
)
_ENDS = "\t\n\r\u2028\u2029"
_find_in_text = re.compile(f"[{_UNSAFE}]").search
_find_in_line = re.compile(f"[{_UNSAFE}{_ENDS}]").search
_in_text = re.compile(f"[{_UNSAFE}]+")
_in_line = re.compile(f"[{_UNSAFE}{_ENDS}]")
_ends_of_lines = re.compile(f"[{_ENDS}]+")
_raw_in_json = re.compile("[\x7f-\x9f" + _UNSAFE.partition("\x9f")[2] + "\u2028\u2029]")


def find(text: str, *, is_line: bool = True) -> str:
    """The first character that must not be there, as `U+202E RIGHT-TO-LEFT OVERRIDE`; else empty.

    A text that `is_line` has no tab and no end of a line.
    """
    found = _find_in_line(text) if is_line else _find_in_text(text)
    if found is None:
        return ""
    name = unicodedata.name(found[0], "a control character")
    return f"U+{ord(found[0]):04X} {name}"


def cleaned(text: str) -> str:
    """The text as one line without such characters: tabs and ends of lines become a space."""
    if _find_in_line(text) is None:
        return text
    return _in_text.sub("", _ends_of_lines.sub(" ", text)).strip()


def cleaned_lines(text: str) -> str:
    """The text without such characters, with its lines and tabs."""
    return _in_text.sub("", text)


def shown(text: str) -> str:
    """The text as one line in which a mark stands for each such character."""
    return _in_line.sub(REPLACEMENT, text)


def shown_lines(text: str) -> str:
    """The text with its lines, in which a mark stands for each such character."""
    return text if _find_in_text(text) is None else re.sub(f"[{_UNSAFE}]", REPLACEMENT, text)


def escaped_json(text: str) -> str:
    """JSON that says the same in characters that a terminal shows."""
    return _raw_in_json.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))

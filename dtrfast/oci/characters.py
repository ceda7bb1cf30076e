"""Characters that texts of users must not contain, because readers would see a different text.

Control characters move a terminal's cursor. Direction controls reverse a line. Invisible characters
make two names look the same. Joiners (U+200C, U+200D) are allowed, because scripts and emoji need
them.
"""

from __future__ import annotations

import re
import unicodedata

from dtrfast.errors import SettingsInvalid

REPLACEMENT = "\ufffd"

# C0 and C1 except tab and line ends; soft hyphen, letter mark and Hangul fillers; zero width and
# direction marks; embeddings and isolates; invisible operators; interlinear annotations; byte order
# mark; surrogates; tags.
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
    """Return the first unsafe character, such as `U+202E RIGHT-TO-LEFT OVERRIDE`; else empty.

    With `is_line`, tabs and line ends are unsafe too.
    """
    found = _find_in_line(text) if is_line else _find_in_text(text)
    if found is None:
        return ""
    name = unicodedata.name(found[0], "a control character")
    return f"U+{ord(found[0]):04X} {name}"


def check_line(text: str, place: str) -> None:
    """Raise `SettingsInvalid` for a character that a line must not contain. `place` names the text
    to its sender.
    """
    found = find(text)
    if found:
        raise SettingsInvalid(f"{place}: remove {found}: texts cannot be read with it")


def cleaned(text: str) -> str:
    """Return the text as one line without unsafe characters. Tabs and line ends become a space."""
    if _find_in_line(text) is None:
        return text
    return _in_text.sub("", _ends_of_lines.sub(" ", text)).strip()


def cleaned_lines(text: str) -> str:
    """Return the text without unsafe characters. Tabs and line ends stay."""
    return _in_text.sub("", text)


def shown(text: str) -> str:
    """Return the text as one line, with U+FFFD for each unsafe character, tab and line end."""
    return _in_line.sub(REPLACEMENT, text)


def shown_lines(text: str) -> str:
    """Return the text with U+FFFD for each unsafe character. Tabs and line ends stay."""
    return text if _find_in_text(text) is None else re.sub(f"[{_UNSAFE}]", REPLACEMENT, text)


def escaped_json(text: str) -> str:
    """Return equivalent JSON with unsafe characters escaped, so that terminals show them."""
    return _raw_in_json.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))

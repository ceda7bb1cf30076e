"""The order of tags as versions: `v1.9` before `v1.10`, and `1.10.0-rc.1` before `1.10.0`.

Numbers in a tag count as numbers, and a hyphen after a version begins a pre-release, as in
https://semver.org/. Tags that are no versions come by name, without regard to case.
"""

from __future__ import annotations

import re
from functools import lru_cache

# Keys in memory: those of the longest list that one request sorts. Each takes up to 500 bytes.
_KEYS_MAX = 20_480

# Characters that sort before all others of a tag: the mark of a pre-release, the end, and what
# stands for hyphens and underscores of other tags.
_PRE, _END, _HYPHEN, _UNDERSCORE = "\x01", "\x02", "\x03", "\x04"
_LONG_NUMBER = re.compile(r"\d\d+")
_PRE_RELEASE = re.compile(r"(\.\d+)-")
# A number of n digits sorts behind those of fewer digits: the mark before it is greater than `9`,
# and less than `a`. The last one is of all longer numbers, with their length behind it.
_LENGTH_MARKS = "".join(map(chr, range(ord("9") + 1, ord("a"))))
_LENGTH_MAX = len(_LENGTH_MARKS) + 1


@lru_cache(_KEYS_MAX)
def version_key(tag: str) -> tuple[str, str]:
    """Return the place of a tag in the order of versions."""
    text = tag.lower()
    if text[0] == "v" and text[1:2].isdigit():
        text = text[1:]
    if "-" in text and text[0].isdigit():
        text = text.replace("-", _PRE)
    elif "-" in text:
        text = _PRE_RELEASE.sub(rf"\1{_PRE}", text).replace("-", _HYPHEN)
    text = text.replace("_", _UNDERSCORE)
    return _LONG_NUMBER.sub(_with_length, text) + _END, tag


def _with_length(found: re.Match[str]) -> str:
    digits = found[0].lstrip("0") or "0"
    count = len(digits)
    if count >= _LENGTH_MAX:
        return f"{_LENGTH_MARKS[-1]}{count:03d}{digits}"
    return digits if count == 1 else _LENGTH_MARKS[count - 2] + digits

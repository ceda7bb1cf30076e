"""Distinguished names, compared as names and not as text (RFC 4514, RFC 4518).

Servers, schemas and users spell a name in many ways. They differ in blanks, letter case, escapes
and hexadecimal BER. They use attribute types by name or by number, and order the parts of one level
as they like.

Every server takes names with equal keys for one name. The reverse does not hold, since a server's
schema may have more rules. If two keys differ, only the entries tell whether it is one name.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# The levels of a name in order. Each level is a sorted tuple of pairs of type and value.
DnKey = tuple[tuple[tuple[str, str], ...], ...]

_KEYS_KEPT_MAX = 20_000

# Attribute types with their other names and their numbers (RFC 4519, RFC 4524).
_TYPES = {
    "cn": ("commonname", "2.5.4.3"),
    "sn": ("surname", "2.5.4.4"),
    "serialnumber": ("2.5.4.5",),
    "c": ("countryname", "2.5.4.6"),
    "l": ("localityname", "2.5.4.7"),
    "st": ("stateorprovincename", "2.5.4.8"),
    "street": ("streetaddress", "2.5.4.9"),
    "o": ("organizationname", "2.5.4.10"),
    "ou": ("organizationalunitname", "2.5.4.11"),
    "title": ("2.5.4.12",),
    "member": ("2.5.4.31",),
    "name": ("2.5.4.41",),
    "givenname": ("gn", "2.5.4.42"),
    "initials": ("2.5.4.43",),
    "uniquemember": ("2.5.4.50",),
    "uid": ("userid", "0.9.2342.19200300.100.1.1"),
    "mail": ("rfc822mailbox", "0.9.2342.19200300.100.1.3"),
    "dc": ("domaincomponent", "0.9.2342.19200300.100.1.25"),
    "email": ("emailaddress", "pkcs9email", "1.2.840.113549.1.9.1"),
    "memberuid": ("1.3.6.1.1.1.1.12",),
    "entryuuid": ("1.3.6.1.1.16.4",),
}
_SAME = {other: name for name, others in _TYPES.items() for other in others}

_match_part = re.compile(
    r"""[ \t\n]*+(?:oid\.)?+(?P<type>[a-z][a-z0-9-]*+|[0-9]++(?:\.[0-9]++)++)[ \t\n]*+=[ \t\n]*+
        (?: \#(?P<ber>(?:[0-9a-f]{2})++)
          | "(?P<quoted>(?:[^"\\]|\\[0-9a-f]{2}|\\.)*+)"
          | (?P<plain>(?!\#)(?:[^"\\,;+\0]|\\[0-9a-f]{2}|\\.)*+) )
        [ \t\n]*+(?P<separator>[,;+]|\Z)""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
).match
_sub_escape = re.compile(rb"\\([0-9a-fA-F]{2}|.)", re.DOTALL).sub
# A bit string, which may follow the name in a value of `uniqueMember` (RFC 4517, 3.3.21).
_find_unique_id = re.compile(r"#'[01]*'B\Z").search
# BER tags of texts, with the encodings of their bytes.
_TEXT_TAGS = {
    0x04: "utf-8",
    0x0C: "utf-8",
    0x12: "ascii",
    0x13: "ascii",
    0x14: "latin-1",
    0x16: "ascii",
    0x1A: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}


def type_key(name: str) -> str:
    """Return the same name for all spellings of an attribute type, without its options."""
    folded = name.strip().lower().partition(";")[0].removeprefix("oid.")
    return _SAME.get(folded, folded)


@lru_cache(_KEYS_KEPT_MAX)
def key_of(text: str) -> DnKey | None:
    """Return the key that equal names share; None if the text is not a distinguished name."""
    unique_id = _find_unique_id(text)
    text = text[: unique_id.start()] if unique_id else text
    levels: list[tuple[tuple[str, str], ...]] = []
    level: list[tuple[str, str]] = []
    at, separator = 0, "," if text.strip() else ""
    while separator:
        found = _match_part(text, at)
        if found is None:
            return None
        if found["ber"]:
            value = _text_of_ber(bytes.fromhex(found["ber"]))
        else:
            escaped = found["plain"] if found["quoted"] is None else found["quoted"]
            raw = _sub_escape(_decode_escape, escaped.encode("utf-8", "surrogatepass"))
            value = _fold(raw.decode("utf-8", "surrogateescape"))
        level.append((type_key(found["type"]), value))
        at, separator = found.end(), found["separator"]
        if separator != "+":
            levels.append(tuple(sorted(level)))
            level = []
    return tuple(levels)


def first_value(text: str, attribute: str) -> str:
    """Return the value of an attribute in a name's first level, folded; empty if there is none."""
    key = key_of(text)
    return dict(key[0]).get(type_key(attribute), "") if key else ""


def _decode_escape(found: re.Match[bytes]) -> bytes:
    """Return the byte that an escape stands for: two hexadecimal digits, or the byte itself."""
    given = found[1]
    return bytes.fromhex(given.decode()) if len(given) == 2 else given


def _text_of_ber(data: bytes) -> str:
    """Return the text of a value in BER. A value that is no text stays in hexadecimal."""
    length, start = data[1] if len(data) > 1 else -1, 2
    if length > 0x80:
        start = 2 + length - 0x80
        length = int.from_bytes(data[2:start], "big")
    encoding = _TEXT_TAGS.get(data[0])
    if encoding is None or len(data) - start != length:
        return f"#{data.hex()}"
    try:
        return _fold(data[start:].decode(encoding))
    except UnicodeDecodeError:
        return f"#{data.hex()}"


def _fold(text: str) -> str:
    """Remove the differences of case and blanks that no matching rule of a naming attribute sees
    (RFC 4518).

    It uses lower case, not Unicode's case folding: keys of different names must never be equal.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(piece for piece in text.lower().split(" ") if piece)

"""Distinguished names, compared as names and not as text (RFC 4514, RFC 4518).

Servers, schemas and users spell one name in many ways: blanks, letter case, escapes, hexadecimal
BER, types by name or by number, and the parts of one level in any order. Names with equal keys are
one name for every server. The reverse does not hold: a server's schema may know more, so where two
keys differ only a look at the entry tells.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Pairs of type and value of one level, sorted, and the levels in order.
DnKey = tuple[tuple[tuple[str, str], ...], ...]

_KEYS_KEPT_MAX = 20_000

# Names of types, and their numbers, by which the same type is also called (RFC 4519, RFC 4524).
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
_unescape = re.compile(rb"\\([0-9a-fA-F]{2}|.)", re.DOTALL).sub
# What a value of `uniqueMember` may have behind the name: a bit string (RFC 4517, 3.3.21).
_find_unique_id = re.compile(r"#'[01]*'B\Z").search
# Tags of BER for texts, and how their bytes are encoded.
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
    """An attribute's name without its options, as one of the names that it has."""
    folded = name.strip().lower().partition(";")[0].removeprefix("oid.")
    return _SAME.get(folded, folded)


@lru_cache(_KEYS_KEPT_MAX)
def key_of(text: str) -> DnKey | None:
    """A key that equal names share; None for a text that is not a distinguished name."""
    unique_id = _find_unique_id(text)
    text = text[: unique_id.start()] if unique_id else text
    levels: list[tuple[tuple[str, str], ...]] = []
    level: list[tuple[str, str]] = []
    at, separator = 0, "," if text.strip() else ""
    while separator:
        found = _match_part(text, at)
        if found is None:
            return None
        level.append((type_key(found["type"]), _value(found)))
        at, separator = found.end(), found["separator"]
        if separator != "+":
            levels.append(tuple(sorted(level)))
            level = []
    return tuple(levels)


def first_value(text: str, attribute: str) -> str:
    """The value of an attribute in a name's first level, folded; empty if it has none."""
    key = key_of(text)
    return dict(key[0]).get(type_key(attribute), "") if key else ""


def _value(found: re.Match[str]) -> str:
    if found["ber"]:
        return _text_of_ber(bytes.fromhex(found["ber"]))
    escaped = found["plain"] if found["quoted"] is None else found["quoted"]
    raw = escaped.encode("utf-8", "surrogatepass")
    return _fold(_unescape(_unescaped, raw).decode("utf-8", "surrogateescape"))


def _unescaped(found: re.Match[bytes]) -> bytes:
    given = found[1]
    return bytes.fromhex(given.decode()) if len(given) == 2 else given


def _text_of_ber(data: bytes) -> str:
    """The text in a value that is given in BER. Any other value is told apart by its bytes."""
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
    """Letter case and blanks that matter to no rule which naming attributes have (RFC 4518).

    Lower case and not Unicode's case folding: keys of different names must never be equal.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(piece for piece in text.lower().split(" ") if piece)

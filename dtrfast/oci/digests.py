"""Content digests, their text and their key form, and references (a tag or a digest).

Strict: a digest has one text and one key, so equal digests are equal texts, keys and values.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias, cast

import msgspec

from dtrfast.errors import Corrupt, DigestInvalid
from dtrfast.oci.names import Tag

Algorithm: TypeAlias = Literal["sha256", "sha512"]

ALGORITHMS: tuple[Algorithm, ...] = ("sha256", "sha512")
DEFAULT_ALGORITHM: Algorithm = "sha256"

# Bytes of a raw digest, and the byte that stands for the algorithm in keys: written to disk, so
# an entry may be added but never changed.
RAW_SIZES: dict[Algorithm, int] = {"sha256": 32, "sha512": 64}
_KEY_PREFIXES: dict[Algorithm, bytes] = {"sha256": b"\x01", "sha512": b"\x02"}
_KEY_FORMS: dict[tuple[bytes, int], Algorithm] = {
    (_KEY_PREFIXES[algorithm], 1 + RAW_SIZES[algorithm]): algorithm for algorithm in ALGORITHMS
}

_match_strict = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}").fullmatch
_SHA256 = "sha256:"
# What the specification calls a digest, whether or not its algorithm is known here.
_match_any = re.compile(
    r"([A-Za-z][A-Za-z0-9]*+(?:[-_+.][A-Za-z][A-Za-z0-9]*+)*+):[A-Za-z0-9=_-]++"
).fullmatch

_ALGORITHMS_SHOWN = " or ".join(ALGORITHMS)
# As much of a refused text as a message repeats: a sha512 digest is shown whole.
_SHOWN_LENGTH_MAX = 140


class Digest(msgspec.Struct, frozen=True, gc=False):
    """An algorithm and what it made of the content."""

    algorithm: Algorithm
    raw: bytes

    @staticmethod
    def parse(text: str) -> Digest:
        if _match_strict(text) is None:
            raise _refusal(text)
        # Both algorithm names have six characters, as the strict pattern says.
        return Digest(cast(Algorithm, text[:6]), bytes.fromhex(text[7:]))

    @staticmethod
    def parse_many(texts: Sequence[str]) -> list[Digest] | None:
        """Parse many digests of sha256 in a third of the time. None if one is something else."""
        lines = "\n".join(texts)
        try:
            raw = bytes.fromhex(lines.replace(_SHA256, ""))
        except ValueError:
            return None
        # What was read is written again: only the strict form comes out as it went in.
        if (
            len(raw) != 32 * len(texts)
            or _SHA256 + raw.hex("\n", 32).replace("\n", "\n" + _SHA256) != lines
        ):
            return None
        return [Digest("sha256", raw[begin : begin + 32]) for begin in range(0, len(raw), 32)]

    @staticmethod
    def from_key(key: bytes) -> Digest:
        """The inverse of `key()`, for what was read from disk."""
        algorithm = _KEY_FORMS.get((key[:1], len(key)))
        if algorithm is None:
            raise Corrupt(f"{key[:65].hex()} is not the key of a digest: run a check of the data")
        return Digest(algorithm, key[1:])

    @staticmethod
    def of_bytes(
        data: bytes | bytearray | memoryview, algorithm: Algorithm = DEFAULT_ALGORITHM
    ) -> Digest:
        return Digest(algorithm, hashlib.new(algorithm, data).digest())

    @property
    def hex(self) -> str:
        return self.raw.hex()

    def key(self) -> bytes:
        """One byte for the algorithm, then the raw digest."""
        return _KEY_PREFIXES[self.algorithm] + self.raw

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.raw.hex()}"


Reference: TypeAlias = Tag | Digest


def keys_of(digests: Iterable[Digest], prefix: bytes = b"") -> list[bytes]:
    """The key of each of many digests, after a prefix."""
    begin = prefix + _KEY_PREFIXES["sha256"]
    return [begin + one.raw if one.algorithm == "sha256" else prefix + one.key() for one in digests]


def parse_algorithm(text: str) -> Algorithm:
    """The value of `?digest-algorithm=`."""
    if text not in ALGORITHMS:
        raise DigestInvalid(
            f"the digest algorithm {text[:_SHOWN_LENGTH_MAX]!r} is not supported: use"
            f" {_ALGORITHMS_SHOWN}"
        )
    return text


def parse_reference(text: str) -> Reference:
    """A tag never holds a colon, a digest always does."""
    return Digest.parse(text) if ":" in text else Tag.parse(text)


def _refusal(text: str) -> DigestInvalid:
    shown = repr(text[:_SHOWN_LENGTH_MAX])
    match = _match_any(text)
    if match is None:
        return DigestInvalid(
            f"{shown} is not a digest: write the algorithm, a colon and lower-case hex digits"
        )
    algorithm = match[1]
    if algorithm not in ALGORITHMS:
        return DigestInvalid(f"the algorithm of {shown} is not supported: use {_ALGORITHMS_SHOWN}")
    return DigestInvalid(
        f"{shown} is not a digest: {algorithm} has exactly {2 * RAW_SIZES[algorithm]} lower-case"
        " hex digits"
    )

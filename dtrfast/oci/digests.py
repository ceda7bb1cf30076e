"""Content digests with their text form and key form, and references (a tag or a digest).

Parsing is strict: each digest has exactly one text and one key. So two digests are equal exactly if
their texts are equal, and exactly if their keys are.
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

# The size of a raw digest in bytes, and the byte that stands for the algorithm in keys. Keys are on
# disk, so add entries but never change one.
RAW_SIZES: dict[Algorithm, int] = {"sha256": 32, "sha512": 64}
_KEY_PREFIXES: dict[Algorithm, bytes] = {"sha256": b"\x01", "sha512": b"\x02"}
_KEY_FORMS: dict[tuple[bytes, int], Algorithm] = {
    (_KEY_PREFIXES[algorithm], 1 + RAW_SIZES[algorithm]): algorithm for algorithm in ALGORITHMS
}

_match_strict = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}").fullmatch
_SHA256 = "sha256:"
# The digest grammar of the OCI image specification, for any algorithm.
_match_any = re.compile(
    r"([A-Za-z][A-Za-z0-9]*+(?:[-_+.][A-Za-z][A-Za-z0-9]*+)*+):[A-Za-z0-9=_-]++"
).fullmatch

_ALGORITHMS_SHOWN = " or ".join(ALGORITHMS)
# Messages repeat at most this much of a refused text; a sha512 digest is shown whole.
_SHOWN_LENGTH_MAX = 140


class Digest(msgspec.Struct, frozen=True, gc=False):
    """A digest: an algorithm, and the raw hash of the content."""

    algorithm: Algorithm
    raw: bytes

    @staticmethod
    def parse(text: str) -> Digest:
        """Parse `ALGORITHM:HEX`. Raises `DigestInvalid`."""
        if _match_strict(text) is None:
            shown = repr(text[:_SHOWN_LENGTH_MAX])
            match = _match_any(text)
            if match is None:
                raise DigestInvalid(
                    f"{shown} is not a digest: write the algorithm, a colon and lower-case hex"
                    " digits"
                )
            algorithm = match[1]
            if algorithm not in ALGORITHMS:
                raise DigestInvalid(
                    f"the algorithm of {shown} is not supported: use {_ALGORITHMS_SHOWN}"
                )
            raise DigestInvalid(
                f"{shown} is not a digest: {algorithm} has exactly {2 * RAW_SIZES[algorithm]}"
                " lower-case hex digits"
            )
        # Both algorithm names have six characters, as the strict pattern says.
        return Digest(cast(Algorithm, text[:6]), bytes.fromhex(text[7:]))

    @staticmethod
    def parse_many(texts: Sequence[str]) -> list[Digest] | None:
        """Parse many sha256 digests at once, in a third of the time of `parse`.

        Returns None if a text is not a sha256 digest.
        """
        lines = "\n".join(texts)
        try:
            raw = bytes.fromhex(lines.replace(_SHA256, ""))
        except ValueError:
            return None
        # `fromhex` accepts more than the strict form. Only strict texts equal their re-encoding.
        if (
            len(raw) != 32 * len(texts)
            or _SHA256 + raw.hex("\n", 32).replace("\n", "\n" + _SHA256) != lines
        ):
            return None
        return [Digest("sha256", raw[begin : begin + 32]) for begin in range(0, len(raw), 32)]

    @staticmethod
    def from_key(key: bytes) -> Digest:
        """Return the digest of a key that was read from disk. Raises `Corrupt` if it is not one."""
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
        """Return the digest's key: one byte for the algorithm, then the raw digest."""
        return _KEY_PREFIXES[self.algorithm] + self.raw

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.raw.hex()}"


Reference: TypeAlias = Tag | Digest


def keys_of(digests: Iterable[Digest], prefix: bytes = b"") -> list[bytes]:
    """Return the keys of many digests, each with `prefix` in front."""
    begin = prefix + _KEY_PREFIXES["sha256"]
    return [begin + one.raw if one.algorithm == "sha256" else prefix + one.key() for one in digests]


def parse_algorithm(text: str) -> Algorithm:
    """Parse the value of `?digest-algorithm=`. Raises `DigestInvalid`."""
    if text not in ALGORITHMS:
        raise DigestInvalid(
            f"the digest algorithm {text[:_SHOWN_LENGTH_MAX]!r} is not supported: use"
            f" {_ALGORITHMS_SHOWN}"
        )
    return text


def parse_reference(text: str) -> Reference:
    """Parse a tag or a digest. Raises `TagInvalid` or `DigestInvalid`."""
    # A digest always has a colon, a tag never.
    return Digest.parse(text) if ":" in text else Tag.parse(text)

"""Byte ranges: what a `Range` header asks of a blob, what `Content-Range` says of a chunk.

RFC 9110 section 14, with two choices where it leaves one. Parts keep the order of the request and
are not merged, because podman matches them to its request by position. A range that ends before its
start is refused, because the conformance suite wants 416 for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dtrfast.errors import RangeInvalid, RangesTooMany
from dtrfast.oci.media_types import OCTET_STREAM

# The most that podman puts into one request. It halves its list when the answer is 400.
RANGE_COUNT_MAX = 1024

# More than any file size in at most as many digits as int() reads without noticeable work.
_POSITION_DIGITS_MAX = 19
_POSITION_HUGE = 10**_POSITION_DIGITS_MAX

_WHITESPACE = " \t"
_match_unit = re.compile(r"bytes=", re.IGNORECASE | re.ASCII).match
_match_spec = re.compile(r"([0-9]*+)-([0-9]*+)").fullmatch
# The specification's own form is `0-99`; some clients write the one of RFC 9110, `bytes 0-99/100`.
_match_chunk = re.compile(
    r"(?:bytes[ =][ \t]*+)?([0-9]{1,19}+)-([0-9]{1,19}+)(?:/(?:[0-9]++|\*))?",
    re.IGNORECASE | re.ASCII,
).fullmatch

_BOUNDARY_LENGTH_MAX = 70


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes `start` to `end` of a blob, both included."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start + 1

    def content_range(self, size: int) -> str:
        return f"bytes {self.start}-{self.end}/{size}"


@dataclass(frozen=True, slots=True)
class ChunkRange:
    """Where the bytes of a request belong in an upload, both ends included."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start + 1


@dataclass(frozen=True, slots=True)
class Multipart:
    """The frame of a multipart answer: a head before the bytes of each range, then the tail."""

    content_type: str
    heads: tuple[bytes, ...]
    tail: bytes
    length: int


def parse_range(header: str, size: int) -> list[Range] | None:
    """The ranges to send, never empty; None when the header is to be ignored."""
    unit = _match_unit(header.lstrip(_WHITESPACE))
    if unit is None:
        return None
    specs = _split(unit.string[unit.end() :])
    if len(specs) > RANGE_COUNT_MAX:
        raise RangesTooMany(f"more than {RANGE_COUNT_MAX} ranges: ask for fewer in each request")
    bounds = _parse_specs(specs)
    if not bounds:
        return None
    return _satisfiable(bounds, size)


def unsatisfied_range(size: int) -> str:
    """The `Content-Range` of a 416."""
    return f"bytes */{size}"


def parse_chunk_range(header: str) -> ChunkRange:
    """The `Content-Range` of a PATCH or a closing PUT."""
    match = _match_chunk(header.strip(_WHITESPACE))
    if match is None:
        raise RangeInvalid("Content-Range is not a range: write <first byte>-<last byte>")
    start, end = int(match[1]), int(match[2])
    if end < start:
        raise RangeInvalid(f"Content-Range ends at {end}, before its start at {start}")
    return ChunkRange(start, end)


def frame_multipart(
    ranges: list[Range], size: int, boundary: str, content_type: str = OCTET_STREAM
) -> Multipart:
    """What stands around the bytes of several ranges. The boundary must not occur in the blob."""
    # Podman takes no other characters in a boundary, RFC 2046 no more of them.
    assert boundary.isascii()
    assert boundary.isalnum()
    assert len(boundary) <= _BOUNDARY_LENGTH_MAX
    heads = tuple(
        f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\n"
        f"Content-Range: {part.content_range(size)}\r\n\r\n".encode("ascii")
        for part in ranges
    )
    tail = f"\r\n--{boundary}--\r\n".encode("ascii")
    # A body starts with its delimiter: a line break before it would be an empty preamble.
    heads = (heads[0].removeprefix(b"\r\n"), *heads[1:])
    return Multipart(
        content_type=f"multipart/byteranges; boundary={boundary}",
        heads=heads,
        tail=tail,
        length=sum(map(len, heads)) + sum(part.length for part in ranges) + len(tail),
    )


def _split(text: str) -> list[str]:
    """The elements of a list, whose empty ones do not count (RFC 9110 section 5.6.1)."""
    return [spec for part in text.split(",") if (spec := part.strip(_WHITESPACE))]


def _parse_specs(specs: list[str]) -> list[tuple[int | None, int | None]]:
    """Start and end of each, None where the text leaves one out; nothing if any cannot be read."""
    bounds = []
    for spec in specs:
        match = _match_spec(spec)
        if match is None or spec == "-":
            return []
        bounds.append((_position(match[1]), _position(match[2])))
    return bounds


def _position(digits: str) -> int | None:
    if not digits:
        return None
    if len(digits) > _POSITION_DIGITS_MAX:
        digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _POSITION_DIGITS_MAX else _POSITION_HUGE


def _satisfiable(bounds: list[tuple[int | None, int | None]], size: int) -> list[Range]:
    ranges = []
    for first, last in bounds:
        if first is None:
            part = Range(max(0, size - (last or 0)), size - 1)
        elif last is not None and last < first:
            raise RangeInvalid(f"the range {first}-{last} ends before its start", size=size)
        else:
            part = Range(first, size - 1 if last is None else min(last, size - 1))
        if part.start <= part.end:
            ranges.append(part)
    if not ranges:
        raise RangeInvalid(f"the blob has {size} bytes: ask for a range inside it", size=size)
    return ranges

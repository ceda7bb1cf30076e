"""Byte ranges: the `Range` header of a pull, and the `Content-Range` header of an upload's chunk.

They follow RFC 9110 section 14, which leaves two choices. Parts keep the order of the request and
are not merged, because podman matches them to its request by position. A range that ends before its
start is refused with 416, because the conformance suite requires it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dtrfast.errors import RangeInvalid, RangesTooMany
from dtrfast.oci.media_types import OCTET_STREAM

# The most ranges that podman puts into one request. If the answer is 400, it halves its list.
RANGE_COUNT_MAX = 1024

# Enough digits for any file size, and few enough that int() takes no noticeable time.
_POSITION_DIGITS_MAX = 19
_POSITION_HUGE = 10**_POSITION_DIGITS_MAX

_WHITESPACE = " \t"
_match_unit = re.compile(r"bytes=", re.IGNORECASE | re.ASCII).match
_match_spec = re.compile(r"([0-9]*+)-([0-9]*+)").fullmatch
# The form of the distribution specification is `0-99`. Some clients use the form of RFC 9110,
# `bytes 0-99/100`.
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
    """The range of an upload that the bytes of a request fill, both ends included."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start + 1


@dataclass(frozen=True, slots=True)
class Multipart:
    """The framing of a multipart answer: a head before the bytes of each range, and a tail.

    `length` is the size of the whole body in bytes.
    """

    content_type: str
    heads: tuple[bytes, ...]
    tail: bytes
    length: int


def parse_range(header: str, size: int) -> list[Range] | None:
    """Return the ranges to send, never an empty list. None means: ignore the header.

    `size` is the blob's size in bytes. Raises `RangeInvalid` if no range can be satisfied, and
    `RangesTooMany`.
    """
    unit = _match_unit(header.lstrip(_WHITESPACE))
    if unit is None:
        return None
    # Empty elements of a list do not count (RFC 9110 section 5.6.1).
    parts = unit.string[unit.end() :].split(",")
    specs = [spec for part in parts if (spec := part.strip(_WHITESPACE))]
    if len(specs) > RANGE_COUNT_MAX:
        raise RangesTooMany(f"more than {RANGE_COUNT_MAX} ranges: ask for fewer in each request")
    bounds: list[tuple[int | None, int | None]] = []  # first and last byte, None if omitted
    for spec in specs:
        match = _match_spec(spec)
        if match is None or spec == "-":
            return None
        bounds.append((_position(match[1]), _position(match[2])))
    if not bounds:
        return None
    return _satisfiable(bounds, size)


def unsatisfied_range(size: int) -> str:
    """Return the `Content-Range` of a 416."""
    return f"bytes */{size}"


def parse_chunk_range(header: str) -> ChunkRange:
    """Parse the `Content-Range` of a PATCH or a closing PUT. Raises `RangeInvalid`."""
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
    """Return the framing of a multipart answer. `boundary` must not occur in the blob."""
    # Podman accepts only letters and digits in a boundary; RFC 2046 allows at most 70 characters.
    assert boundary.isascii()
    assert boundary.isalnum()
    assert len(boundary) <= _BOUNDARY_LENGTH_MAX
    heads = tuple(
        f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\n"
        f"Content-Range: {part.content_range(size)}\r\n\r\n".encode("ascii")
        for part in ranges
    )
    tail = f"\r\n--{boundary}--\r\n".encode("ascii")
    # The body starts with its delimiter; a line break before it would be an empty preamble.
    heads = (heads[0].removeprefix(b"\r\n"), *heads[1:])
    return Multipart(
        content_type=f"multipart/byteranges; boundary={boundary}",
        heads=heads,
        tail=tail,
        length=sum(map(len, heads)) + sum(part.length for part in ranges) + len(tail),
    )


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

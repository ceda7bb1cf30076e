"""The encoder that made a layer, found by replaying the beginning of the layer.

The gzip header and the last bytes of the deflate stream leave few candidates. Those that reproduce
the first 2 MiB remain. A conversion replays the whole layer, and shows which is right.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from dtrfast.store.tier import encoding, gzip_frame
from dtrfast.store.tier.encoding import ENCODERS, Encoder, ReplayFailed
from dtrfast.store.tier.gzip_frame import TRAILER_SIZE, GzipHeader
from dtrfast.store.tier.original import Original

# Ids of encoders (docs/encoders.md).
GO_DEFAULT, GO_BEST_SPEED = 1, 2
PGZIP_K2, PGZIP_K1, PGZIP_K3, PGZIP_K2A = 3, 4, 5, 8
GO127_DEFAULT, GO127_BEST_SPEED = 6, 7
ZLIB, GNU_GZIP, PIGZ = 9, 10, 11

# Reasons for which a layer stays whole.
NO_GZIP = "not gzip"
BEST_COMPRESSION = "gzip at the best compression"
SEVERAL_MEMBERS = "several gzip members"
TRAILING_BYTES = "bytes behind the gzip stream"
BROKEN = "broken gzip stream"
UNKNOWN_ENCODER = "unknown encoder"
# Reasons that damage of the file may give, too.
MAYBE_DAMAGE = frozenset({SEVERAL_MEMBERS, TRAILING_BYTES, BROKEN, UNKNOWN_ENCODER})

# Plain bytes that a candidate must reproduce, and those that are inflated for it. The segment ends
# with a block, most of which are small. The longest may begin just before the replayed size.
_REPLAYED_SIZE = 2 << 20
_PLAIN_SIZES = (5 << 19, 11 << 20)
_PROBE_SIZE = 32 * 1024
_READ_SIZE = 1 << 20
_NONE, _SPEED = 0, 4  # XFL
_BEST = 2
_FAT, _UNIX, _UNKNOWN_SYSTEM = 0, 3, 255  # OS
# Ends of deflate streams: an empty stored block, and behind it an empty fixed block.
_EMPTY_STORED = b"\x00\x00\xff\xff"
_PGZIP_END = _EMPTY_STORED + b"\x03\x00"
_MEMBER = b"\x1f\x8b"  # the beginning of another gzip member


@dataclass(frozen=True, slots=True)
class Recognition:
    """The verdict on a layer: the encoders that reproduce its beginning, and its gzip header.

    Versions of one encoder may differ in few places only. `reason`: why the layer stays whole, if
    there is no encoder.
    """

    encoders: tuple[Encoder, ...]
    header: bytes = b""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Beginning:
    """The first plain bytes of a layer. `is_whole`: the layer has no more."""

    plain: bytes
    is_whole: bool


def recognize(original: Original) -> Recognition:
    """Find the encoder of a content. Raises `Corrupt`, `StorageFailed`."""
    size = original.size
    head = original.read(0, gzip_frame.HEADER_SIZE_MAX)
    header = gzip_frame.parse_header(head)
    if header is None or size < header.size + TRAILER_SIZE:
        return Recognition((), reason=NO_GZIP)
    if header.extra_flags == _BEST:
        return Recognition((), reason=BEST_COMPRESSION)
    end = size - TRAILER_SIZE
    tail = original.read(max(end - len(_PGZIP_END), header.size), len(_PGZIP_END))
    ids = candidates(header, tail[: end - header.size])
    known = [ENCODERS[one] for one in ids if one in ENCODERS]
    for plain_size in _PLAIN_SIZES:
        beginning, fault = _inflate_beginning(original, header.size, plain_size)
        if fault:
            return Recognition((), reason=fault)
        bounds = header.size, end
        found = tuple(one for one in known if _reproduces(one, beginning, original, bounds))
        if found:
            return Recognition(found, head[: header.size])
    return Recognition((), reason=UNKNOWN_ENCODER)


def candidates(header: GzipHeader, tail: bytes) -> Iterator[int]:
    """The ids of encoders that write such a header, and such last bytes before the trailer.

    The more usual ones come first. Source of the rules: docs/encoders.md, "Recognition".
    """
    signs = (header.extra_flags, header.system)
    if signs == (_NONE, _UNKNOWN_SYSTEM):
        if tail.endswith(_PGZIP_END):
            yield from (PGZIP_K2, PGZIP_K1, PGZIP_K2A, PGZIP_K3)
        elif tail.endswith(_EMPTY_STORED):
            yield GO_DEFAULT
        yield from (ZLIB, GO127_DEFAULT)
    elif signs == (_SPEED, _UNKNOWN_SYSTEM):
        if tail.endswith(_EMPTY_STORED):
            yield GO_BEST_SPEED
        yield GO127_BEST_SPEED
    elif header.extra_flags == _NONE and header.system in (_UNIX, _FAT):
        yield from (ZLIB, GNU_GZIP, PIGZ)


def _inflate_beginning(original: Original, begin: int, plain_size: int) -> tuple[_Beginning, str]:
    """Inflate up to `plain_size` bytes. The second result is a reason to keep the layer whole."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = bytearray()
    at = begin
    try:
        while len(plain) < plain_size and not inflater.eof and at < original.size:
            piece = original.read(at, _READ_SIZE)
            at += len(piece)
            plain += inflater.decompress(piece, plain_size - len(plain))
    except zlib.error:
        return _Beginning(b"", False), BROKEN
    if not inflater.eof:
        is_cut_off = at == original.size and len(plain) < plain_size
        return _Beginning(bytes(plain), False), BROKEN if is_cut_off else ""
    end = at - len(inflater.unused_data)
    return _Beginning(bytes(plain), True), fault_behind(original, end)


def fault_behind(original: Original, end: int) -> str:
    """Return the reason to keep a layer whole whose deflate stream ends at `end`, or nothing."""
    if end + TRAILER_SIZE == original.size:
        return ""
    if end + TRAILER_SIZE > original.size:
        return BROKEN
    is_member = original.read(end + TRAILER_SIZE, 2) == _MEMBER
    return SEVERAL_MEMBERS if is_member else TRAILING_BYTES


def _reproduces(
    encoder: Encoder, beginning: _Beginning, original: Original, bounds: tuple[int, int]
) -> bool:
    """Return True if the encoder makes the bytes of the original, within `bounds`, that belong to
    the beginning.
    """
    plain = memoryview(beginning.plain)
    # A longer stream goes on behind the bytes that are here: any length tells the encoder that.
    total = len(plain) if beginning.is_whole else len(plain) * 2
    state: bytes | None = b""
    position = 0
    at, end = bounds
    while state is not None and position < min(_REPLAYED_SIZE, len(plain)):
        try:
            # Most candidates that are wrong fail within the first block.
            size = _PROBE_SIZE if position == 0 else _REPLAYED_SIZE - position
            made = encoding.encode_next(
                encoder, lambda first, last: plain[first:last], total, position, state, size
            )
        except ReplayFailed:
            return False
        if at + len(made.data) > end or original.read(at, len(made.data)) != made.data:
            return False
        at += len(made.data)
        position, state = made.position, made.state
    return True

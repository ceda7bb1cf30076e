"""Runs of encoders over plain bytes that a function reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dtrfast import _core
from dtrfast.errors import FormatUnknown
from dtrfast.store.tier.replays import IDENTITY

# Plain bytes of a segment: the distance of checkpoints. A replay of so many bytes takes some 50 ms,
# and that of a pull's first byte no longer.
SEGMENT_SIZE = 2 << 20
# A segment ends with a block of its encoder. The longest is one of GNU gzip: 32767 matches of 258
# bytes have 8.1 MiB. Those of the others have at most 4 MiB.
_WINDOW_SIZE_MAX = 16 << 20
# Bytes of a deflate stream beyond those of its plain bytes: heads of stored blocks, and flushes.
_OVERHEAD_DIVISOR = 256
_OVERHEAD_MIN = 4096

ReadPlain = Callable[[int, int], bytearray | bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder of `_core`. `history` and `lookahead`: bytes that it needs around a segment."""

    id: int
    name: str
    history: int
    lookahead: int


IDENTITY_ENCODER = Encoder(IDENTITY, "uncompressed", 0, 0)
ENCODERS = {IDENTITY: IDENTITY_ENCODER} | {
    identifier: Encoder(identifier, name, history, lookahead)
    for identifier, name, history, lookahead in _core.encoders()
}


@dataclass(frozen=True, slots=True)
class Encoded:
    """A segment that was encoded: its bytes, and the state and position of the next one.

    `state` is None at the end of the stream.
    """

    data: bytes
    state: bytes | None
    position: int


class ReplayFailed(Exception):
    """The encoder does not accept the plain bytes or the state: this is not its stream."""


def encoder_of(identifier: int) -> Encoder:
    """Return an encoder. Raises `FormatUnknown` for one that this version does not have."""
    found = ENCODERS.get(identifier)
    if found is None:
        raise FormatUnknown(f"no encoder has the id {identifier}: run a newer dtrfast")
    return found


def encode_next(
    encoder: Encoder,
    read: ReadPlain,
    total: int,
    position: int,
    state: bytes,
    segment_size: int | None = None,
) -> Encoded:
    """Encode the segment at the plain offset `position`.

    It has about `segment_size` plain bytes, by default `SEGMENT_SIZE`.

    `read` gives plain bytes; `total` is their number. Raises `ReplayFailed`, and what `read` does.
    """
    segment_size = SEGMENT_SIZE if segment_size is None else segment_size
    stop = min(position + segment_size, total)
    if encoder.id == IDENTITY:
        return Encoded(bytes(read(position, stop)), None if stop == total else b"", stop)
    begin = max(0, position - encoder.history)
    size = segment_size + SEGMENT_SIZE // 8 + encoder.lookahead
    while True:
        end = min(position + size, total)
        try:
            data, following, reached = _core.replay(
                encoder.id,
                read(begin, end),
                begin=begin,
                total=total,
                state=state,
                stop=stop,
                size_max=size + size // _OVERHEAD_DIVISOR + _OVERHEAD_MIN,
            )
            return Encoded(data, following, reached)
        except EOFError as error:
            if end == total or size >= _WINDOW_SIZE_MAX:
                raise ReplayFailed("its blocks are too long") from error
        except (OverflowError, ValueError) as error:
            raise ReplayFailed(str(error)) from error
        size *= 2


def encode_segment(
    encoder: Encoder, read: ReadPlain, total: int, bounds: tuple[int, int], state: bytes, size: int
) -> bytes:
    """Encode the segment with the plain bytes `bounds`, which has `size` bytes.

    Reads no more plain bytes than the encoder is known to need. If it asks for more, the segment is
    encoded as the conversion did it. Raises `ReplayFailed`, and what `read` does.
    """
    position, stop = bounds
    if encoder.id == IDENTITY:
        return bytes(read(position, stop))
    begin = max(0, position - encoder.history)
    end = min(stop + encoder.lookahead, total)
    try:
        data, _, reached = _core.replay(
            encoder.id,
            read(begin, end),
            begin=begin,
            total=total,
            state=state,
            stop=stop,
            size_max=size,
        )
    except (EOFError, OverflowError):
        made = encode_next(encoder, read, total, position, state, stop - position)
        data, reached = made.data, made.position
    except ValueError as error:
        raise ReplayFailed(str(error)) from error
    if reached != stop or len(data) != size:
        raise ReplayFailed("it ends at another place")
    return data

"""Runs of an encoder: over a whole stream, and segment by segment from checkpoints."""

from collections.abc import Iterator
from typing import NamedTuple

from dtrfast._core import encoders, replay


class Encoder(NamedTuple):
    """An encoder, and how many bytes before and behind a segment decide its output."""

    number: int
    name: str
    history: int
    lookahead: int


class Segment(NamedTuple):
    """A part of a deflate stream, the state behind it, and the plain offset of its end."""

    data: bytes
    state: bytes | None
    position: int


def encoder(name: str) -> Encoder:
    found = {row[1]: Encoder(*row) for row in encoders()}
    return found[name]


def size_bound(plain_size: int) -> int:
    return plain_size + plain_size // 8 + 1000


def run_whole(chosen: Encoder, plain: bytes) -> bytes:
    data, state, position = replay(
        chosen.number,
        plain,
        begin=0,
        total=len(plain),
        state=b"",
        stop=len(plain) + 1,
        size_max=size_bound(len(plain)),
    )
    assert state is None
    assert position == len(plain)
    return data


def run_segment(chosen: Encoder, plain: bytes, start: Segment, stop: int) -> Segment:
    """Return the segment behind a checkpoint, from a window without a byte before its history.

    The window grows until it has enough bytes behind the segment.
    """
    begin = max(0, start.position - chosen.history)
    size = stop - start.position + (1 << 16)
    while True:
        window = plain[begin : start.position + size]
        try:
            return Segment(
                *replay(
                    chosen.number,
                    window,
                    begin=begin,
                    total=len(plain),
                    state=start.state or b"",
                    stop=stop,
                    size_max=size_bound(len(window)),
                )
            )
        except EOFError:
            assert start.position + size < len(plain) + chosen.lookahead
            size *= 2


def run_segments(chosen: Encoder, plain: bytes, stride: int) -> Iterator[Segment]:
    """Yield segments of at least `stride` plain bytes, up to the end of the stream."""
    segment = Segment(b"", b"", 0)
    while segment.state is not None:
        stop = segment.position + stride
        following = run_segment(chosen, plain, segment, stop)
        assert following.state is None or following.position >= stop
        segment = following
        yield segment

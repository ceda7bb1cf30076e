"""The klauspost encoders: the bytes of the real ones, whole and in segments, from any state."""

import functools
import hashlib
import json
import random
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from dtrfast import _core
from tests.ext.klauspost_streams import GOLDEN, MIB, names, stream
from tests.ext.sanitized import thin_out

SEED = 31_337


class Encoder(NamedTuple):
    number: int
    name: str
    history: int
    lookahead: int


CHUNK = 65535
# The plain bytes between two checkpoints.
STEPS = dict.fromkeys((3, 4, 5, 8), MIB) | {6: CHUNK, 7: CHUNK}
ENCODERS = [encoder for row in _core.encoders() if (encoder := Encoder(*row)).number in STEPS]
EVERYTHING = 1 << 62
# The place of the maps in a state of Go 1.27 (docs/encoders.md, layout C).
MAPS_START = 180
SEGMENTED = ("mixed-3145733", "records-3145733", f"mixed-{MIB}", "return-200003", "text-0")

each_encoder = pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.name)


@functools.cache
def golden() -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = json.loads(GOLDEN.read_text())
    return rows


def size_max(size: int) -> int:
    return size + size // 100 + 1000


def whole(encoder: Encoder, plain: bytes) -> bytes:
    data, state, position = _core.replay(
        encoder.number,
        plain,
        begin=0,
        total=len(plain),
        state=b"",
        stop=EVERYTHING,
        size_max=size_max(len(plain)),
    )
    assert (state, position) == (None, len(plain))
    return data


class Segment(NamedTuple):
    """A run with the fewest bytes that decide its output, and its result."""

    window: bytes
    begin: int
    total: int
    state: bytes
    stop: int
    data: bytes


def segments(encoder: Encoder, plain: bytes, stop_every: int) -> Iterator[Segment]:
    total, step = len(plain), STEPS[encoder.number]
    state: bytes | None = b""
    position = 0
    while state is not None:
        before, begin = state, max(0, position - encoder.history)
        stop = (position // stop_every + 1) * stop_every
        checkpoint = -(-stop // step) * step
        window = plain[begin : min(total, checkpoint + encoder.lookahead)]
        data, state, position = _core.replay(
            encoder.number,
            window,
            begin=begin,
            total=total,
            state=before,
            stop=stop,
            size_max=size_max(len(window)),
        )
        assert position == (total if state is None else checkpoint)
        assert state != b""
        yield Segment(window, begin, total, before, stop, data)


def again(encoder: Encoder, segment: Segment, state: bytes, **changes: int) -> bytes:
    fields = {
        "begin": segment.begin,
        "total": segment.total,
        "stop": segment.stop,
        "size_max": size_max(len(segment.window)),
    }
    return _core.replay(encoder.number, segment.window, state=state, **(fields | changes))[0]


@pytest.mark.slow
@each_encoder
def test_streams_are_those_of_the_real_encoder(encoder: Encoder) -> None:
    assert list(golden()) == list(names())
    for name in thin_out(list(golden())):
        found = hashlib.sha256(whole(encoder, stream(name))).hexdigest()
        assert found == golden()[name][str(encoder.number)], name


@pytest.mark.slow
@each_encoder
@pytest.mark.parametrize("stop_every", [1, MIB, 2 * MIB, 4 * MIB])
def test_segments_are_the_stream(encoder: Encoder, stop_every: int) -> None:
    for name in thin_out(SEGMENTED):
        plain = stream(name)
        parts = list(segments(encoder, plain, stop_every))
        joined = b"".join(part.data for part in parts)
        assert hashlib.sha256(joined).hexdigest() == golden()[name][str(encoder.number)]
        assert (len(parts) > 1) == (len(plain) > max(stop_every, STEPS[encoder.number]))


@pytest.fixture(scope="module")
def middle() -> dict[int, Segment]:
    """Return a segment in the middle of a stream for each encoder."""
    plain = stream("mixed-3145733")
    return {encoder.number: list(segments(encoder, plain, MIB))[1] for encoder in ENCODERS}


@each_encoder
def test_each_missing_byte_is_noticed(encoder: Encoder, middle: dict[int, Segment]) -> None:
    segment = middle[encoder.number]
    with pytest.raises(EOFError):
        again(encoder, segment._replace(window=segment.window[:-1]), segment.state)
    late = segment._replace(window=segment.window[1:])
    with pytest.raises(ValueError, match="state"):
        again(encoder, late, segment.state, begin=segment.begin + 1)
    with pytest.raises(ValueError, match="state"):
        again(encoder, late, b"", begin=segment.begin + 1)


@each_encoder
def test_room_for_the_output_is_not_passed(encoder: Encoder, middle: dict[int, Segment]) -> None:
    segment = middle[encoder.number]
    size = len(segment.data)
    assert again(encoder, segment, segment.state, size_max=size) == segment.data
    for room in (0, 1, 7, 8, 9, 1000, size // 2, size - 9, size - 2, size - 1):
        with pytest.raises(OverflowError):
            again(encoder, segment, segment.state, size_max=room)


def mutations(state: bytes, count: int) -> Iterator[bytes]:
    generator = random.Random(SEED)
    for size in range(1, len(state), max(1, len(state) // 50)):
        yield state[:size]
    yield state + b"\0"
    for _ in range(count):
        changed = bytearray(state)
        for _ in range(generator.randrange(1, 4)):
            # Most fields are at the start.
            bound = len(state) if generator.random() < 0.5 else min(40, len(state))
            changed[generator.randrange(bound)] = generator.randrange(256)
        yield bytes(changed)
    for _ in range(count // 4):
        yield generator.randbytes(len(state))


def thinned_maps(state: bytes, count: int) -> Iterator[bytes]:
    """Yield states whose tables have fewer positions than the encoder's: all are accepted."""
    generator = random.Random(SEED)
    for _ in range(count):
        changed = bytearray(state)
        for _ in range(generator.choice((1, 30, 3000))):
            changed[generator.randrange(MAPS_START, len(state))] &= generator.randrange(256)
        yield bytes(changed)


@pytest.mark.slow
@each_encoder
def test_no_state_leads_outside(encoder: Encoder, middle: dict[int, Segment]) -> None:
    segment = middle[encoder.number]
    results = {"ran": 0, "refused": 0}
    has_maps = len(segment.state) > MAPS_START
    thinned = thinned_maps(segment.state, 30) if has_maps else ()
    for state in (*mutations(segment.state, 40), *thinned):
        try:
            again(encoder, segment, state, stop=segment.begin + 1)
            results["ran"] += 1
        except (EOFError, OverflowError):
            results["ran"] += 1
        except ValueError:
            results["refused"] += 1
    assert results["refused"] > 20
    # Each byte of pgzip's state is checked, so damage never runs.
    assert results["ran"] >= 30 if has_maps else results["ran"] == 0, results


@each_encoder
def test_states_of_other_encoders_are_refused(encoder: Encoder, middle: dict[int, Segment]) -> None:
    for number, segment in middle.items():
        if number != encoder.number:
            with pytest.raises(ValueError, match="state"):
                again(encoder, segment, segment.state)

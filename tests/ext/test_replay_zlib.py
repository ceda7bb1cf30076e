"""The encoders zlib, GNU gzip and pigz give the streams of the real ones, whole and in segments."""

import functools
import hashlib
import json
import random
from typing import TypedDict

import pytest

from dtrfast._core import replay
from tests.ext.replay_segments import (
    Encoder,
    Segment,
    encoder,
    run_segment,
    run_segments,
    run_whole,
    size_bound,
)
from tests.ext.replay_streams import mixture
from tests.ext.sanitized import thin_out
from tests.ext.zlib_streams import GOLDEN, streams

NAMES = ("zlib", "gnu-gzip", "pigz")
# Streams at least this long are run in segments too, one for each block.
SEGMENTED_SIZE = 139_000
STATE_SIZE = 24


class GoldenRow(TypedDict):
    """The streams of the encoders for one plain stream: their SHA-256 (encoders_zlib/golden.py)."""

    plain_sha256: str
    sha256: dict[str, str]


def golden_rows() -> dict[str, GoldenRow]:
    rows: dict[str, GoldenRow] = json.loads(GOLDEN.read_text())
    return rows


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.slow
def test_streams_are_those_of_the_real_encoders() -> None:
    rows = golden_rows()
    chosen_names = set(thin_out(list(rows)))
    wrong: list[str] = []
    for name, plain in streams():
        row = rows.pop(name)
        if name not in chosen_names:
            continue
        assert sha256(plain) == row["plain_sha256"], name
        for chosen in map(encoder, NAMES):
            golden = row["sha256"][chosen.name]
            if sha256(run_whole(chosen, plain)) != golden:
                wrong.append(f"{chosen.name} {name}")
            if len(plain) >= SEGMENTED_SIZE:
                parts = [segment.data for segment in run_segments(chosen, plain, 1)]
                if sha256(b"".join(parts)) != golden:
                    wrong.append(f"{chosen.name} {name} in segments")
    assert not wrong
    assert not rows


@functools.cache
def plain_stream() -> bytes:
    return mixture(500_000)


@pytest.fixture(params=NAMES)
def chosen(request: pytest.FixtureRequest) -> Encoder:
    return encoder(request.param)


@pytest.fixture
def checkpoint(chosen: Encoder) -> Segment:
    """Return a checkpoint in the middle of the stream, where it can be behind a literal."""
    segment = Segment(b"", b"", 0)
    for segment in run_segments(chosen, plain_stream(), 1):
        is_pending = segment.state is not None and segment.state[20] == 1
        if segment.position > 130_000 and (is_pending or chosen.name == "pigz"):
            return segment
    raise AssertionError(segment)


def test_segment_needs_its_history_and_lookahead_and_no_more(
    chosen: Encoder, checkpoint: Segment
) -> None:
    plain = plain_stream()
    following = run_segment(chosen, plain, checkpoint, checkpoint.position + 1)
    begin = checkpoint.position - chosen.history
    assert following.state

    def run(begin: int, end: int) -> tuple[bytes, bytes | None, int]:
        return replay(
            chosen.number,
            plain[begin:end],
            begin=begin,
            total=len(plain),
            state=checkpoint.state or b"",
            stop=checkpoint.position + 1,
            size_max=size_bound(end - begin),
        )

    end = following.position + chosen.lookahead
    assert run(begin, end) == following
    with pytest.raises(EOFError):
        run(begin, following.position - 1)
    with pytest.raises(EOFError):
        run(begin, checkpoint.position)
    with pytest.raises(ValueError, match="state"):
        run(begin + 1, end)


def test_segment_fills_its_room_exactly(chosen: Encoder, checkpoint: Segment) -> None:
    plain = plain_stream()
    following = run_segment(chosen, plain, checkpoint, checkpoint.position + 1)

    def run(size_max: int) -> tuple[bytes, bytes | None, int]:
        return replay(
            chosen.number,
            plain,
            begin=0,
            total=len(plain),
            state=checkpoint.state or b"",
            stop=checkpoint.position + 1,
            size_max=size_max,
        )

    assert run(len(following.data)) == following
    for size in (0, 1, 7, 8, len(following.data) // 2, len(following.data) - 1):
        with pytest.raises(OverflowError):
            run(size)


def is_refused(chosen: Encoder, state: bytes) -> bool:
    plain = plain_stream()
    try:
        replay(
            chosen.number,
            plain,
            begin=0,
            total=len(plain),
            state=state,
            stop=0,
            size_max=size_bound(len(plain)),
        )
    except ValueError:
        return True
    return False


def test_state_must_fit_the_stream(chosen: Encoder, checkpoint: Segment) -> None:
    state = checkpoint.state
    assert state
    assert len(state) == STATE_SIZE
    assert state[8:16] == checkpoint.position.to_bytes(8, "little")
    assert not is_refused(chosen, state)
    for name, wrong in {
        "start of the stream": state[:8] + bytes(8) + state[16:],
        "end of the stream": state[:8] + len(plain_stream()).to_bytes(8, "little") + state[16:],
        "far behind": state[:8] + b"\xff" * 8 + state[16:],
        "other encoder": state[:4] + b"\x08" + state[5:],
        "length 1": state[:16] + b"\x01\x00\x00\x00\x01" + state[21:],
        "distance without a match": state[:16] + b"\x02\x00\x01\x00\x01" + state[21:],
        "match that is not there": state[:16] + b"\x02\x01\x39\x30\x01" + state[21:],
        "distance 0": state[:16] + b"\x03\x00\x00\x00\x01" + state[21:],
        "match before its step": state[:16] + b"\x03\x00\x01\x00\x00" + state[21:],
        "8 pending bits": state[:21] + b"\x08\x00\x00",
        "a bit that is not pending": state[:21] + b"\x01\x02\x00",
        "last byte": state[:-1] + b"\x01",
        "shorter": state[:-1],
        "longer": state + b"\x00",
    }.items():
        assert is_refused(chosen, wrong), name


def mutate(state: bytes, chance: random.Random) -> bytes:
    data = bytearray(state)
    for _ in range(chance.choice((1, 1, 2, 20))):
        at = chance.randrange(chance.choice((8, 1)), len(data))
        data[at] = chance.choice((0, 1, 3, 7, 0x7F, 0xFF, data[at] ^ 1 << chance.randrange(8)))
    return bytes(data[: chance.choice((len(data), len(data), len(data), chance.randrange(1, 24)))])


@pytest.mark.slow
def test_damaged_states_are_refused_or_run_within_bounds(
    chosen: Encoder, checkpoint: Segment
) -> None:
    plain = plain_stream()
    chance = random.Random(chosen.number)
    begin = checkpoint.position - chosen.history
    results = {"ran": 0, "refused": 0}
    assert checkpoint.state
    for _ in range(600):
        # A window of its own: reads outside of it are found by the sanitizer.
        window = plain[begin : checkpoint.position + chance.randrange(chance.choice((600, 90_000)))]
        try:
            replay(
                chosen.number,
                window,
                begin=begin,
                total=chance.choice((begin + len(window), len(plain), 1 << 62)),
                state=mutate(checkpoint.state, chance),
                stop=chance.choice((0, begin + len(window), 1 << 63)),
                size_max=chance.choice((100, size_bound(len(window)))),
            )
            results["ran"] += 1
        except (EOFError, OverflowError):
            results["ran"] += 1
        except ValueError:
            results["refused"] += 1
    assert min(results.values()) > 20, results

"""The encoders of Go up to 1.26 give the streams of the real one, whole and in segments."""

import hashlib
import json
import random
from pathlib import Path
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
from tests.ext.replay_streams import mixture, streams
from tests.ext.sanitized import SANITIZED, thin_out

GOLDEN = Path(__file__).parents[1] / "golden" / "encoders_go.json"
NAMES = ("go-default", "go-best-speed")
STRIDES = (1, 1 << 16, 1 << 20)
# Longer streams take half a minute under sanitizers.
SANITIZED_SIZE_MAX = 2_000_000


class GoldenRow(TypedDict):
    """The streams of Go for one plain stream: their SHA-256 (see encoders_go/main.go)."""

    plain_sha256: str
    sha256: dict[str, str]


def golden_rows() -> dict[str, GoldenRow]:
    rows: dict[str, GoldenRow] = json.loads(GOLDEN.read_text())
    return rows


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.slow
def test_streams_are_those_of_go() -> None:
    rows = golden_rows()
    chosen_names = set(thin_out(list(rows)))
    wrong: list[str] = []
    for name, plain in streams():
        row = rows.pop(name)
        if name not in chosen_names or (SANITIZED and len(plain) > SANITIZED_SIZE_MAX):
            continue
        assert sha256(plain) == row["plain_sha256"], name
        for level in NAMES:
            chosen = encoder(level)
            golden = row["sha256"][level]
            if sha256(run_whole(chosen, plain)) != golden:
                wrong.append(f"{level} {name}")
            for stride in STRIDES if len(plain) > 196_606 else ():
                parts = [segment.data for segment in run_segments(chosen, plain, stride)]
                if sha256(b"".join(parts)) != golden:
                    wrong.append(f"{level} {name} in segments of {stride}")
    assert not wrong
    assert not rows


@pytest.fixture(scope="module")
def plain() -> bytes:
    return mixture(500_000)


@pytest.fixture(params=NAMES)
def chosen(request: pytest.FixtureRequest) -> Encoder:
    return encoder(request.param)


@pytest.fixture
def checkpoint(chosen: Encoder, plain: bytes) -> Segment:
    """A checkpoint in the middle of the stream."""
    return run_segment(chosen, plain, Segment(b"", b"", 0), 200_000)


def test_segment_needs_its_history_and_lookahead_and_no_more(
    chosen: Encoder, plain: bytes, checkpoint: Segment
) -> None:
    following = run_segment(chosen, plain, checkpoint, checkpoint.position + 1)
    begin = checkpoint.position - chosen.history
    assert checkpoint.state
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
    with pytest.raises(ValueError, match="state"):
        run(begin + 1, end)
    with pytest.raises(ValueError, match="state"):
        run(begin, checkpoint.position - 1)


def test_segment_fills_its_room_exactly(chosen: Encoder, plain: bytes, checkpoint: Segment) -> None:
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


def is_refused(chosen: Encoder, plain: bytes, state: bytes) -> bool:
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


def test_state_must_fit_the_stream(chosen: Encoder, plain: bytes, checkpoint: Segment) -> None:
    state = checkpoint.state
    assert state
    position = checkpoint.position.to_bytes(8, "little")
    assert state.startswith(position)
    assert not is_refused(chosen, plain, state)
    for name, wrong in {
        "start of the stream": bytes(8) + state[8:],
        "end of the stream": len(plain).to_bytes(8, "little") + state[8:],
        "far behind": b"\xff" * 8 + state[8:],
        "8 pending bits": position + b"\x08" + state[9:],
        "a bit that is not pending": position + b"\x01\x02" + state[10:],
        "shorter": state[:-1],
        "longer": state + b"\x00",
        "position only": position,
    }.items():
        assert is_refused(chosen, plain, wrong), name


def test_map_of_best_speed_must_fit_the_bytes(plain: bytes) -> None:
    chosen = encoder("go-best-speed")
    found = run_segment(chosen, plain, Segment(b"", b"", 0), 1)
    state = found.state
    assert state
    assert not is_refused(chosen, plain, state)

    def with_bits(*bits: int) -> bytes:
        number = sum(1 << bit for bit in bits)
        return state[:10] + number.to_bytes(4096, "little")

    # A scan never inserts the last 15 positions.
    assert not is_refused(chosen, plain, with_bits(32768 - 16))
    for bit in range(32768 - 15, 32768):
        assert is_refused(chosen, plain, with_bits(bit)), bit
    # Equal bytes have one slot.
    zeros = bytes(found.position) + plain[found.position :]
    assert not is_refused(chosen, zeros, with_bits(1))
    assert is_refused(chosen, zeros, with_bits(0, 1))


def mutate(state: bytes, chance: random.Random) -> bytes:
    data = bytearray(state)
    for _ in range(chance.choice((1, 1, 2, 50))):
        # Most fields stand in the first bytes.
        at = chance.randrange(min(len(data), chance.choice((10, 16, 5000))))
        data[at] = chance.choice((0, 1, 7, 0x7F, 0xFF, data[at] ^ 1 << chance.randrange(8)))
    return bytes(data[: chance.choice((len(data), len(data), chance.randrange(len(data)))) or 1])


@pytest.mark.slow
def test_damaged_states_are_refused_or_run_within_bounds(
    chosen: Encoder, plain: bytes, checkpoint: Segment
) -> None:
    chance = random.Random(chosen.number)
    begin = checkpoint.position - chosen.history
    results = {"ran": 0, "refused": 0}
    assert checkpoint.state
    for _ in range(400):
        # A window of its own: reads outside of it are found by the sanitizer.
        window = plain[begin : checkpoint.position + chance.randrange(90_000)]
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

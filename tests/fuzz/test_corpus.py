"""The fuzzers' corpus, for machines without clang: kernels and their twins agree on each input."""

import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from dtrfast._core import encoders, replay
from tests.ext.replay_segments import (
    Encoder,
    Segment,
    run_segment,
    run_segments,
    run_whole,
    size_bound,
)
from tests.ext.test_chunked import decode, twin_decode
from tests.ext.test_head import outcome, twin_outcome

CORPUS = Path(__file__).parent / "corpus"
# tests/fuzz/chunked.c uses these octets of an input as its plan.
PLAN_SIZE = 3

# As in tests/fuzz/replay.c.
REPLAY_PLAN_SIZE = 4
DAMAGED, REPEATED = 1, 2
PLAIN_SIZE_MAX = 1 << 17
PART_SIZES = dict.fromkeys((3, 4, 5, 8), 1 << 20) | {11: 1 << 17}


def inputs(kind: str) -> list[Path]:
    return sorted((CORPUS / kind).iterdir())


def named(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", inputs("head"), ids=named)
def test_heads(path: Path) -> None:
    data = path.read_bytes()
    assert outcome(data) == twin_outcome(data)
    assert isinstance(outcome(data), dict) is not path.name.startswith("bad-")


@pytest.mark.parametrize("path", inputs("chunked"), ids=named)
def test_chunked_bodies(path: Path) -> None:
    data = path.read_bytes()[PLAN_SIZE:]
    body = twin_decode(data)
    assert decode(data, list(range(len(data))), 64) == body
    assert (body is not None and body.finished) is not path.name.startswith("bad-")


@cache
def random_octets(argument: int, size: int, mask: int) -> bytes:
    state = argument + 1
    octets = bytearray()
    for _ in range(size):
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        octets.append(state >> 16 & mask)
    return bytes(octets)


def append_step(plain: bytearray, step: bytes) -> None:
    size = min(1 << (step[0] >> 4) | step[1], PLAIN_SIZE_MAX - len(plain))
    if size == 0:
        return
    argument = step[2] << 8 | step[3]
    kind = step[0] & 3
    if kind == 0:
        plain += random_octets(argument, size, 0xFF >> (step[0] >> 2 & 3))
    elif kind == 1 and argument < len(plain):
        copied = plain[-argument - 1 :][:size]
        plain += (copied * (size // len(copied) + 1))[:size]
    else:
        pair = step[2:3] * 2 if kind == 2 else step[2:4]
        plain += (pair * (size // 2 + 1))[:size]


def make_plain(encoder: Encoder, plan: bytes, steps: bytes) -> bytes:
    plain = bytearray()
    for at in range(0, len(steps) - len(steps) % 4, 4):
        append_step(plain, steps[at : at + 4])
    part_size = PART_SIZES.get(encoder.number, 0)
    if plan[1] & REPEATED == 0 or part_size == 0 or not plain:
        return bytes(plain)
    size = len(plain) + part_size
    return bytes((plain * (size // len(plain) + 1))[:size])


def damage(state: bytes, octets: bytes) -> bytes:
    damaged = bytearray(state)
    for at in range(0, len(octets) - 2, 3):
        place = octets[at] << 8 | octets[at + 1]
        if damaged and place % 64 == 63:
            damaged.pop()
        elif damaged:
            damaged[place % len(damaged)] ^= octets[at + 2]
    return bytes(damaged)


def run_damaged(encoder: Encoder, plain: bytes, checkpoint: Segment, octet: int) -> None:
    begin = max(0, checkpoint.position - encoder.history)
    end = len(plain) - (len(plain) - begin) * (octet & 15) // 15
    # Any of these is right.
    with suppress(EOFError, OverflowError, ValueError):
        replay(
            encoder.number,
            plain[begin:end],
            begin=begin,
            total=(len(plain), end, 1 << 62, checkpoint.position)[octet >> 4 & 3],
            state=checkpoint.state or b"",
            stop=(0, end, checkpoint.position + 1, (1 << 64) - 1)[octet >> 6],
            size_max=size_bound(len(plain)),
        )


@pytest.mark.parametrize("path", inputs("replay"), ids=named)
def test_streams(path: Path) -> None:
    data = path.read_bytes()
    plan, steps = data[:REPLAY_PLAN_SIZE], data[REPLAY_PLAN_SIZE:]
    encoder = Encoder(*encoders()[plan[0] % len(encoders())])
    plain = make_plain(encoder, plan, steps)
    if plan[1] & DAMAGED:
        found = run_segment(encoder, plain, Segment(b"", b"", 0), 0)
        assert found.state  # an input without a checkpoint would test nothing
        run_damaged(
            encoder,
            plain,
            found._replace(state=damage(found.state, steps[: 3 * plan[2]])),
            plan[3],
        )
        return
    whole = run_whole(encoder, plain)
    stride = 1 + (plan[2] << 8 | plan[3])
    assert b"".join(part.data for part in run_segments(encoder, plain, stride)) == whole
    assert zlib.decompress(whole, -zlib.MAX_WBITS) == plain


def test_each_encoder_has_inputs() -> None:
    """An input with the flag goes on from a checkpoint, which the test above asserts."""
    plans = [path.read_bytes()[:REPLAY_PLAN_SIZE] for path in inputs("replay")]
    for flag in (0, DAMAGED):
        found = {plan[0] for plan in plans if plan[1] & DAMAGED == flag}
        assert found == set(range(len(encoders())))

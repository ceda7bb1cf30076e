"""Lanes on, lanes off, and the plain application: the same requests get the same answers.

Each generated sequence goes to two servers. These tests do not know the right answers.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.door.conftest import Mode, serving
from tests.door.differ.asking import Hostile, Mutation, RequestTemplate
from tests.door.differ.asks import FIRST, asks, hostile, mutations
from tests.door.differ.comparing import FRAMING, ComparableAnswer, difference
from tests.door.differ.peers import Peer, serving_plainly

pytestmark = pytest.mark.slow

# The same seed every time. The variables select other examples, or more of them.
SEED = int(os.environ.get("DIFFERENTIAL_SEED", "1107"))
EXAMPLES = int(os.environ.get("DIFFERENTIAL_EXAMPLES", "300"))

Step = list[RequestTemplate] | Mutation | Hostile
_spaces = (f"e{number}" for number in itertools.count())

_batches = st.lists(asks, min_size=1, max_size=3)
_steps = st.one_of(_batches, _batches, _batches, mutations, hostile)
_first = st.one_of(st.just([*FIRST]), st.lists(st.sampled_from([*FIRST]), unique=True))

_bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@contextmanager
def folder() -> Iterator[Path]:
    """A folder in memory if possible, because disks are slow and these tests are not about them."""
    place = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=place if place.is_dir() else None) as name:
        yield Path(name)


@contextmanager
def peer(*, lanes: bool) -> Iterator[Peer]:
    with folder() as place, serving(place, lanes=lanes) as server:
        client = Peer(Mode.LANES if lanes else Mode.NO_LANES, server.address)
        yield client
        client.close()


@contextmanager
def plain_peer() -> Iterator[Peer]:
    with folder() as place, serving_plainly(place) as address:
        client = Peer("plain", address)
        yield client
        client.close()


@pytest.fixture(scope="module")
def with_and_without_lanes() -> Iterator[tuple[Peer, Peer]]:
    with peer(lanes=True) as one, peer(lanes=False) as other:
        yield one, other


@pytest.fixture(scope="module")
def with_lanes_and_plain() -> Iterator[tuple[Peer, Peer]]:
    with peer(lanes=True) as one, plain_peer() as other:
        yield one, other


@seed(SEED)
@_bounded
@given(first=_first, steps=st.lists(_steps, min_size=1, max_size=10))
def test_lanes_change_no_answer(
    with_and_without_lanes: tuple[Peer, Peer], first: list[str], steps: list[Step]
) -> None:
    one, other = with_and_without_lanes
    for step in begin(first, steps, one, other):
        if isinstance(step, list):
            expect_equal(step, {p.name: p.ask(step) for p in (one, other)})
        else:
            expect_equal(step, {p.name: p.ask_raw(step) for p in (one, other)})


@seed(SEED)
@_bounded
@given(first=_first, steps=st.lists(_batches, min_size=1, max_size=10))
def test_the_plain_application_says_the_same(
    with_lanes_and_plain: tuple[Peer, Peer], first: list[str], steps: list[Step]
) -> None:
    """All servers understand these requests alike. The framing of their answers may differ."""
    one, plain = with_lanes_and_plain
    for step in begin(first, steps, one, plain):
        assert isinstance(step, list)
        sights = one.ask(step)
        plainly = plain.ask_one_by_one(step[: len(sights)])
        expect_equal(step, {one.name: unframed(sights), plain.name: unframed(plainly)})


def begin(first: list[str], steps: Sequence[Step], *peers: Peer) -> Iterator[Step]:
    """Yield all steps of an example, in a space of its own."""
    space = next(_spaces)
    for one in peers:
        one.begin(space)
    if first:
        yield [FIRST[name] for name in first]
    yield from steps


def unframed(sights: Sequence[ComparableAnswer]) -> list[ComparableAnswer]:
    return [sight.without(FRAMING) for sight in sights]


def expect_equal(step: Step, sights: Mapping[str, Sequence[ComparableAnswer]]) -> None:
    found = difference(sights)
    assert found is None, f"seed {SEED}: {found}\n{step}"

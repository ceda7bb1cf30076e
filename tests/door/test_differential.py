"""Lanes on, lanes off, and the plain application: the same requests get the same answers.

Generated sequences go to all three. Nothing says what the right answer is; that is for other tests.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.door.conftest import serving
from tests.door.differ.asking import Ask, Hostile, Mutation
from tests.door.differ.asks import FIRST, asks, hostile, mutations
from tests.door.differ.comparing import FRAMING, Sight, difference
from tests.door.differ.peers import Peer, serving_plainly

pytestmark = pytest.mark.slow

# The same every time; to look at others, or for longer, set these.
SEED = int(os.environ.get("DIFFERENTIAL_SEED", "1107"))
EXAMPLES = int(os.environ.get("DIFFERENTIAL_EXAMPLES", "300"))

Step = list[Ask] | Mutation | Hostile
_spaces = (f"e{number}" for number in itertools.count())

_batches = st.lists(asks, min_size=1, max_size=3)
_steps = st.one_of(_batches, _batches, _batches, mutations, hostile)
_first = st.one_of(st.just([*FIRST]), st.lists(st.sampled_from([*FIRST]), unique=True))


@contextmanager
def folder() -> Iterator[Path]:
    """In memory where there is such a place: nothing here is about disks, which take their time."""
    place = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=place if place.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def peers() -> Iterator[list[Peer]]:
    """The one with lanes first; all with equal content."""
    with ExitStack() as stack:
        found = []
        for name, lanes in (("lanes on", True), ("lanes off", False)):
            server = stack.enter_context(serving(stack.enter_context(folder()), lanes=lanes))
            found.append(Peer(name, server.address))
        plain = stack.enter_context(serving_plainly(stack.enter_context(folder())))
        found.append(Peer("plain", plain))
        yield found
        for peer in found:
            peer.close()


def take(step: Step, space: str, peers: Sequence[Peer]) -> str | None:
    """What was different, None if nothing was."""
    first, second, plain = peers
    if not isinstance(step, list):
        raw = {peer.name: peer.ask_raw(step, space) for peer in (first, second)}
        return difference(raw)
    sights = {peer.name: peer.ask(step, space) for peer in (first, second)}
    answered = step[: len(sights[first.name])]
    found = difference(sights)
    if found is not None:
        return found
    plainly = plain.ask_one_by_one(answered, space)
    return difference({first.name: unframed(sights[first.name]), plain.name: unframed(plainly)})


def unframed(sights: Sequence[Sight]) -> list[Sight]:
    return [sight.without(FRAMING) for sight in sights]


@seed(SEED)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    report_multiple_bugs=False,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(first=_first, steps=st.lists(_steps, min_size=1, max_size=10))
def test_all_answer_alike(peers: list[Peer], first: list[str], steps: list[Step]) -> None:
    space = next(_spaces)
    for peer in peers:
        peer.begin()
    begin = [FIRST[name] for name in first]
    for number, step in enumerate([begin, *steps] if begin else steps):
        found = take(step, space, peers)
        assert found is None, f"seed {SEED}, step {number} of {space}: {found}\n{step}"

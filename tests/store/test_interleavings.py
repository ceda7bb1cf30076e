"""Two operations on one content: one of them runs between any two steps of the other.

No order loses content that a repository holds, or keeps content that none holds.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, product
from pathlib import Path

import pytest

from tests.store import actions
from tests.store.actions import ACTIONS, HOUSEKEEPING, KINDS, PASTS, World
from tests.store.steps import Steps, skip_syncs

_STEPS_MAX = 200


@pytest.fixture(autouse=True)
def _each_change_runs_twice() -> None:
    """Changes run once here, because there are thousands of runs."""


@pytest.fixture(params=["one commit", "two commits"])
def world(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    skip_syncs(monkeypatch)
    world = World(tmp_path / "data", is_together=request.param == "one commit")
    yield world
    world.store.close()


@dataclass(frozen=True, slots=True)
class Crossing:
    """Runs the second operation between the steps of the first. `past`: see `PASTS`."""

    first: str
    second: str
    past: str
    kind: str


def cross(world: World, steps: Steps, crossing: Crossing, at: int) -> bool:
    """Run the second operation before step `at` of the first, then check; return False without such
    a step.
    """
    for name in PASTS[crossing.past]:
        actions.do(world, name)
    seen = count()
    threads = []

    def stop() -> None:
        if next(seen) == at:
            threads.append(steps.beside(lambda: actions.do(world, crossing.second)))

    steps.run(lambda: actions.do(world, crossing.first), stop)
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()
    world.check_acknowledged()
    world.check_links()
    world.check_manifests()
    world.check_all_that_stays()
    if not threads:
        world.verify()
    world.check_nothing_stays()
    return bool(threads)


def cross_all(world: World, steps: Steps, crossing: Crossing) -> int:
    """Run the second operation before each step; return the number of steps."""
    for at in range(_STEPS_MAX):
        world.round(crossing.kind, f"{crossing} {at}")
        try:
            if not cross(world, steps, crossing, at):
                return at
        except BaseException as error:
            error.add_note(f"before step {at}: {crossing}")
            raise
    raise AssertionError("it never ends")


def crossings(share: int) -> list[Crossing]:
    """Return so many of all crossings; 0 means all."""
    every = [
        Crossing(*names)
        for names in product(ACTIONS, ACTIONS, PASTS, KINDS)
        if not {*names[:2]} <= HOUSEKEEPING
    ]
    seed = os.environ.get("INTERLEAVINGS_SEED") or str(random.SystemRandom().randrange(1 << 32))
    return random.Random(int(seed)).sample(every, share) if share else every


# Each crossing has about ten steps, and each step is a run of some milliseconds.
_FEW = pytest.param(3, id="few")
_MANY = pytest.param(int(os.environ.get("INTERLEAVINGS", "150")), id="many", marks=pytest.mark.long)


@pytest.mark.parametrize("share", [_FEW, _MANY])
def test_no_interleaving_loses_or_keeps(
    world: World, monkeypatch: pytest.MonkeyPatch, share: int
) -> None:
    steps = Steps(monkeypatch)
    for crossing in crossings(share):
        cross_all(world, steps, crossing)

"""A process that dies before any step of an operation.

Nothing that was acknowledged is lost, the closing PUT may come again, and nothing is left over.
"""

from __future__ import annotations

import os
import random
import traceback
from itertools import count, product
from pathlib import Path

import pytest

from tests.store import actions
from tests.store.actions import ACTIONS, KINDS, ONE, PASTS, World
from tests.store.steps import Steps, skip_syncs

_STEPS_MAX = 200
# Operations that may end a link.
_DELETES = {"unlink", "come and go"}
_ENDS = {*_DELETES, "end graces"}
_DIED, _ENDED, _FAILED = 0, 1, 2
# Each combination has some ten steps, and each step costs a process. A nightly run may set more.
_SHARE = int(os.environ.get("POINTS", "18"))


class Death:
    """An operation on a content with a past, cut off before a step."""

    def __init__(self, data: Path, names: tuple[str, str, str], at: int, *, is_together: bool):
        self._data = data
        self.operation, self.past, self._kind = names
        self._round = f"{names} {at}"
        self._at = at
        self._is_together = is_together

    def happens(self) -> bool:
        """Let a process die; False if the operation has no such step."""
        if (child := os.fork()) == 0:
            try:
                self._run()
                os._exit(_ENDED)
            except BaseException:
                traceback.print_exc()
                os._exit(_FAILED)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) in (_DIED, _ENDED)
        return os.waitstatus_to_exitcode(status) == _DIED

    def _run(self) -> None:
        world = self._open()
        for name in PASTS[self.past]:
            actions.do(world, name)
        seen = count()

        def stop() -> None:
            if next(seen) == self._at:
                os._exit(_DIED)

        with pytest.MonkeyPatch.context() as patch:
            Steps(patch).run(lambda: actions.do(world, self.operation), stop)

    def _open(self) -> World:
        world = World(self._data, is_together=self._is_together)
        world.round(self._kind, self._round)
        return world

    def check(self, *, is_sent_again: bool) -> None:
        world = self._open()
        try:
            past = PASTS[self.past]
            if "push" in past and not _ENDS & {*past, self.operation}:
                world.acknowledged.add((ONE, world.digest()))
            world.is_deleted = not _DELETES.isdisjoint((*past, self.operation))
            world.check_acknowledged()
            world.check_links()
            world.check_manifests()
            if is_sent_again:
                self._send_again(world)
            world.check_all_that_stays()
            world.verify()
            world.check_nothing_stays()
        finally:
            world.store.close()

    def _send_again(self, world: World) -> None:
        for path in sorted((self._data / "uploads").glob("*.state")):
            world.left = path.stem
            actions.do(world, "push again")
        world.check_acknowledged()
        world.check_links()


@pytest.mark.long
@pytest.mark.parametrize("is_together", [True, False], ids=["one commit", "two commits"])
def test_a_process_dies_between_any_two_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, is_together: bool
) -> None:
    skip_syncs(monkeypatch)
    every = list(product(ACTIONS, PASTS, KINDS))
    numbers = count()
    for names in random.Random(seed).sample(every, _SHARE):
        for at in range(_STEPS_MAX):
            death = Death(tmp_path / str(next(numbers)), names, at, is_together=is_together)
            try:
                if not death.happens():
                    break
                death.check(is_sent_again=at % 2 == 0)
            except BaseException as error:
                error.add_note(f"POWERCUT_SEED={seed}, {names}, before step {at}")
                raise

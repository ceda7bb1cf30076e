"""A trial: the selected tests run with a mutant, until one of them kills it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Literal

import pytest

from tests.mutants.mutation import Mutant
from tests.mutants.selection import Selection, Time, parts
from tests.mutants.tree import Tree

Outcome = Literal["killed", "timed out", "survived", "not covered", "stale"]
# A time-out must mean an endless loop. On a busy machine the unchanged package needs as long.
_SLOWNESS_MAX = 4
_START_SECONDS_MAX = 30.0
_ALONE_SECONDS_MAX = 180.0
_SLOW_SECONDS = 1.0
_NOTHING_FAILED = (None, pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a mutant's trial."""

    mutant: Mutant
    outcome: Outcome
    killer: str = ""  # the test or file that failed
    test_count: int = 0

    @property
    def died(self) -> bool:
        return self.outcome in ("killed", "timed out")


@dataclass(frozen=True, slots=True)
class Trials:
    """Trials in several trees at a time."""

    trees: Sequence[Tree]
    times: Mapping[str, Time]
    # The tests that ran alone on the unchanged package, and True for those that passed.
    _sound: dict[str, bool] = field(default_factory=dict)

    def verdicts(self, selections: Iterable[tuple[Mutant, Selection]]) -> Iterator[Verdict]:
        """Try all mutants; yields each verdict as soon as it is known."""
        free: SimpleQueue[Tree] = SimpleQueue()
        for tree in self.trees:
            free.put(tree)

        def judge(mutant: Mutant, selection: Selection) -> Verdict:
            tree = free.get()
            try:
                return self._judge(tree, mutant, selection)
            finally:
                free.put(tree)

        with ThreadPoolExecutor(len(self.trees)) as threads:
            futures = [threads.submit(judge, *one) for one in selections]
            yield from (future.result() for future in as_completed(futures))

    def _judge(self, tree: Tree, mutant: Mutant, selection: Selection) -> Verdict:
        for part in parts(selection.tests):
            verdict = self._try(tree, mutant, part, selection.seconds)
            if verdict.died:
                return verdict
        outcome: Outcome = "survived" if selection.tests else "not covered"
        return Verdict(mutant, outcome, test_count=len(selection.tests))

    def _try(self, tree: Tree, mutant: Mutant, tests: list[str], seconds: float) -> Verdict:
        limit = _START_SECONDS_MAX + _SLOWNESS_MAX * seconds
        while tests:
            with tree.with_mutant(mutant):
                run = tree.run_tests(tests, limit)
            if run.status is None and tree.run_tests(tests, limit).status is not None:
                return Verdict(mutant, "timed out", run.last, len(tests))
            if run.status in _NOTHING_FAILED:
                break
            if run.failed not in tests or self._is_certain(tree, mutant, run.failed):
                return Verdict(mutant, "killed", run.failed, len(tests))
            tests.remove(run.failed)
        return Verdict(mutant, "survived")

    def _is_certain(self, tree: Tree, mutant: Mutant, test: str) -> bool:
        """Return True if the test passes alone without the mutant and, if it is slow, fails again
        with it.

        Slow tests start servers and wait for them, so they may fail on a busy machine.
        """
        if test not in self._sound:
            self._sound[test] = tree.run_tests([test], _ALONE_SECONDS_MAX).status == 0
        if not self._sound[test] or self.times[test].total < _SLOW_SECONDS:
            return self._sound[test]
        with tree.with_mutant(mutant):
            return tree.run_tests([test], _ALONE_SECONDS_MAX).status != 0

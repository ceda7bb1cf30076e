"""The selection of tests for a mutant: tests that run it, the quickest first."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.mutants.tree import Phase


@dataclass(frozen=True, slots=True)
class Time:
    """The seconds of a test, and the part of them that tests of the same file may share."""

    total: float
    shared: float


@dataclass(frozen=True, slots=True)
class CoveringTests:
    """The tests that run a mutant, and tests of files that start a process which runs it."""

    certain: frozenset[str]
    possible: frozenset[str]
    area: str = ""  # the beginning of the names of tests that are most likely to fail


@dataclass(frozen=True, slots=True)
class Selection:
    """Tests in the order in which they run, and the seconds that they should take."""

    tests: tuple[str, ...]
    seconds: float


def file_of(test: str) -> str:
    return test.partition("::")[0]


def parts(tests: Sequence[str]) -> Iterator[list[str]]:
    """Split a selection into the tests of 4 files, of 12, and of the others.

    A mutant that dies soon then needs few files.
    """
    files = list(dict.fromkeys(map(file_of, tests)))
    for first, end in ((0, 4), (4, 16), (16, len(files))):
        if part := [test for test in tests if file_of(test) in files[first:end]]:
            yield part


def select(covering: CoveringTests, times: Mapping[str, Time], seconds_max: float) -> Selection:
    """Choose the quickest tests, one of each file in turn; at least one.

    Files of the mutant's area come first. Possible tests are chosen if no test is certain, or if
    the time is infinite. All tests of a file stay together, because they share a slow setup.
    """
    chosen: dict[str, list[str]] = defaultdict(list)
    spent = 0.0
    for cost, test in _in_turns(covering, times, seconds_max):
        if not chosen or spent + cost <= seconds_max:
            chosen[file_of(test)].append(test)
            spent += cost
    return Selection(tuple(test for tests in chosen.values() for test in tests), spent)


def _in_turns(
    covering: CoveringTests, times: Mapping[str, Time], seconds_max: float
) -> list[tuple[float, str]]:
    both = not covering.certain or math.isinf(seconds_max)
    groups = [covering.certain, covering.possible if both else frozenset[str]()]
    shared: dict[str, float] = defaultdict(float)
    for test, time in times.items():
        shared[file_of(test)] = max(shared[file_of(test)], time.shared)
    order = []
    for rank, tests in enumerate(groups):
        turns: Counter[str] = Counter()
        for test in sorted(tests, key=lambda test: (times[test].total, test)):
            turn = turns[file_of(test)]
            cost = times[test].total + (0.0 if turn else shared[file_of(test)])
            order.append((rank, turn, not test.startswith(covering.area), cost, test))
            turns[file_of(test)] += 1
    return [(cost, test) for *_, cost, test in sorted(order)]


def times_of(phases: Iterable[Phase]) -> dict[str, Time]:
    """Return the times of the tests that passed."""
    by_test: dict[str, list[Phase]] = defaultdict(list)
    for phase in phases:
        by_test[phase.test].append(phase)
    times = {}
    for test, its in by_test.items():
        if all(phase.outcome == "passed" for phase in its):
            call = sum(phase.seconds for phase in its if phase.when == "call")
            total = sum(phase.seconds for phase in its)
            times[test] = Time(total, total - call)
    return times

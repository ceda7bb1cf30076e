"""All workloads, and the selection of cases by name."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from types import ModuleType

from benchmarks.cases import Case
from benchmarks.workloads import (
    builds,
    day,
    head_blob,
    lists,
    manifest_by_digest,
    manifest_by_tag,
    memory,
    pull,
    push,
    ranged,
    rebuilt,
    small_blob,
    start,
    storm,
    tier,
)

# In the order of the report. Cases with the same stock are adjacent, because they share servers.
WORKLOADS: tuple[ModuleType, ...] = (
    manifest_by_tag,
    manifest_by_digest,
    head_blob,
    small_blob,
    push,
    rebuilt,
    pull,
    ranged,
    storm,
    day,
    lists,
    memory,
    start,
    builds,
    tier,
)


class NothingSelected(Exception):
    """No case matches a name."""


def all_cases() -> list[Case]:
    """Return all cases of all workloads."""
    return [case for workload in WORKLOADS for case in workload.cases()]


def select(cases: Sequence[Case], names: Sequence[str], *, quick: bool) -> list[Case]:
    """Return the cases that match one of the names. Without names, return all or the quick ones.

    A name matches a case of that name and the cases below it (`push` matches `push/…`); it may be a
    pattern. Raises NothingSelected if a name matches no case.
    """
    for name in names:
        if not any(_means(name, case) for case in cases):
            raise NothingSelected(f"no case is called {name}; --list shows them all")
    if names:
        return [case for case in cases if any(_means(name, case) for name in names)]
    return [case for case in cases if case.quick or not quick]


def _means(name: str, case: Case) -> bool:
    below = case.name.startswith(f"{name}/")
    return case.name == name or below or fnmatchcase(case.name, name)

"""All workloads, and which of their cases are asked for."""

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
)

# In the order of the report. Cases with the same stock stand together: they share servers.
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
)


class NothingSelected(Exception):
    """A name that no case has."""


def all_cases() -> list[Case]:
    """Every case of every workload."""
    return [case for workload in WORKLOADS for case in workload.cases()]


def select(cases: Sequence[Case], names: Sequence[str], *, quick: bool) -> list[Case]:
    """The cases that one of the names means, else all of them, or those of the quick set.

    A name means the case, those below it (`push` is all of `push/…`), or is a pattern. Raises
    NothingSelected for a name without a case.
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

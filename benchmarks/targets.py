"""The targets of the design, and their verdicts for a row.

Ratios are to the same case on a peer in the same run. `registry` is distribution 3. nginx serves
the same bytes as files. The C loop runs only the kernels of dtrfast.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from benchmarks.results import Row, metric, ratio

SUBJECT = "dtrfast"
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Target:
    """A bound of a metric, for all cases that the pattern `cases` matches.

    With `peer` the bound is a ratio to that peer. `at_most` marks an upper bound.
    """

    cases: str
    peer: str
    metric: str
    bound: float
    at_most: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and the measured value."""

    target: Target
    measured: float

    @property
    def is_reached(self) -> bool:
        if self.target.at_most:
            return self.measured <= self.target.bound
        return self.measured >= self.target.bound


TARGETS = (
    Target("manifest-by-tag", "registry", "value", 8),
    Target("manifest-by-tag", "nginx", "value", 0.8),
    Target("manifest-by-tag/tls", "registry", "value", 5),
    Target("small-blob", "registry", "value", 20),
    Target("head-blob", "registry", "value", 20),
    *(
        target
        for connections in (1, 4)
        for target in (
            Target(f"push/gzip/chunked/{connections}", "registry", "value", 1.5),
            Target(f"push/gzip/length/{connections}", "registry", "value", 1.0),
            Target(f"push/gzip/*/{connections}", "registry", "cost", 0.85, at_most=True),
        )
    ),
    Target("push/chunkable/*", "c-loop", "value", 0.9),
    Target("rebuilt/*", "registry", "value", 1.5),
    Target("rebuilt/*", "registry", "disk_bytes", 0.15, at_most=True),
    Target("pull/loose/[0-9]*", "nginx", "value", 0.9),
    Target("pull/loose/[0-9]*", "nginx", "cost", 1.2, at_most=True),
    Target("pull/raw/[0-9]*", "nginx", "value", 0.8),
    Target("pull/zstd/[0-9]*", "nginx", "value", 0.4),
    Target("tls-push/*", "registry", "value", 1.0),
    Target("tls-pull/*", "registry", "value", 1.0),
    Target("storm/disk", "registry", "value", 3),
    Target("storm/disk", "registry", "push_p99", 0.5, at_most=True),
    Target("storm/disk", "registry", "pull_p99", 0.5, at_most=True),
    Target("memory/idle", "", "value", 120 * MB, at_most=True),
    Target("memory/uploads", "", "value", 320 * MB, at_most=True),
    Target("start/large", "", "value", 1.0, at_most=True),
)


def verdicts(row: Row) -> list[Verdict]:
    """Return the verdicts of a row. Targets without a measured value are left out."""
    found = []
    for target in TARGETS:
        if not fnmatchcase(row.name, target.cases):
            continue
        if target.peer:
            measured = ratio(row, SUBJECT, target.peer, target.metric)
        else:
            measured = metric(row, SUBJECT, target.metric)
        if measured is not None:
            found.append(Verdict(target, measured.middle))
    return found

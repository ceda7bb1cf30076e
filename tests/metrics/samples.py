"""Samples of processes for tests, and the files that contain them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from dtrfast.metrics.meter import BOUNDS, Totals
from dtrfast.metrics.processes import ProcessSample

NOW = 1_800_000_000.0  # a multiple of both steps


def totals(pulls: int = 0, *, seconds_bucket: int = 0, hot: int = 0) -> Totals:
    """Return totals with `count` pulls of equal duration."""
    counts = [0] * (len(BOUNDS) + 1)
    counts[seconds_bucket] = pulls
    requests = {"pull": pulls, "push": 0, "api": 0, "console": 0, "other": 0}
    return Totals(requests, 0, 0, hot, 10 * pulls, 100 * pulls, counts, [0] * len(counts), [])


def sample(name: str, time: float, **changes: object) -> ProcessSample:
    plain = ProcessSample(name, 100, NOW - 1000, time, 0.0, 5000, 3000, 7, 9)
    return msgspec.structs.replace(plain, **changes)


def write(directory: Path, some: ProcessSample) -> None:
    directory.mkdir(exist_ok=True)
    (directory / f"{some.name}.json").write_bytes(msgspec.json.encode(some))

"""The records of a benchmark run, and the arithmetic of reports.

A row is one case of a workload. It has an outcome for each server, with a sample for each turn.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import msgspec

# The version of the report's layout. Reports of other versions are refused.
VERSION = 1


class Unit(StrEnum):
    """The unit of a case. The first three are work, done at a rate; the others are levels."""

    REQUESTS = "requests"
    BYTES = "bytes"
    IMAGES = "images"
    SECONDS = "seconds"
    MEMORY = "memory"
    DISK = "disk"

    @property
    def is_rate(self) -> bool:
        """True for work: more is better. For levels less is better."""
        return self in (Unit.REQUESTS, Unit.BYTES, Unit.IMAGES)

    @property
    def cost_scale(self) -> float:
        """The amount of work to which costs refer: 1,000 requests, 1 GB, 1 image."""
        return {Unit.REQUESTS: 1e3, Unit.BYTES: 1e9}.get(self, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One turn of one server. `work` is in the case's unit, or is the measured level.

    None stands for values that are unknown because the server was not started here. `figures` are
    further values of this workload by name; the names contain the units.
    """

    work: float
    seconds: float
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    errors: int = 0
    messages: tuple[str, ...] = ()
    cpu_seconds: float | None = None
    client_cpu_seconds: float = 0.0
    resident_peak: int | None = None
    anonymous_peak: int | None = None
    figures: dict[str, float] = field(default_factory=dict)

    def plus(self, other: Sample, *, work: float, figures: dict[str, float]) -> Sample:
        """Return the sum of this sample and a later one, with the latencies of `other`."""
        known = self.cpu_seconds is not None and other.cpu_seconds is not None
        return replace(
            other,
            work=work,
            seconds=self.seconds + other.seconds,
            errors=self.errors + other.errors,
            messages=(*self.messages, *other.messages),
            cpu_seconds=(self.cpu_seconds or 0) + (other.cpu_seconds or 0) if known else None,
            client_cpu_seconds=self.client_cpu_seconds + other.client_cpu_seconds,
            resident_peak=max(self.resident_peak or 0, other.resident_peak or 0) if known else None,
            figures=figures,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """A server's samples. `skipped` says why it was not measured, `failure` why it failed."""

    samples: tuple[Sample, ...] = ()
    skipped: str = ""
    failure: str = ""

    @property
    def errors(self) -> int:
        return sum(sample.errors for sample in self.samples)

    @property
    def has_ended(self) -> bool:
        """True if more turns would be useless."""
        return bool(self.skipped) or self.has_failed

    @property
    def has_failed(self) -> bool:
        """True if the server made errors or failed."""
        return bool(self.errors or self.failure)

    @property
    def is_valid(self) -> bool:
        """True if the figures are meaningful: a failed server has none."""
        return bool(self.samples) and not self.has_failed


@dataclass(frozen=True, slots=True)
class Row:
    """A case and its outcomes. The first outcome is that of the subject."""

    name: str
    about: str
    unit: Unit
    outcomes: dict[str, Outcome]


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine of a run."""

    processor: str
    cores: int
    memory_bytes: int
    kernel: str
    system: str
    python: str
    memory_file_system: str
    disk_file_system: str


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a run."""

    version: int
    began: str
    commit: str
    machine: Machine
    servers: dict[str, str]
    durability: dict[str, str]
    conditions: dict[str, str]
    rows: tuple[Row, ...]

    @property
    def has_failed(self) -> bool:
        """True if a server failed in any row."""
        return any(outcome.has_failed for row in self.rows for outcome in row.outcomes.values())


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of several measurements, and their extremes."""

    middle: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """The noise: the distance of the extremes, as a part of the median."""
        return (self.high - self.low) / self.middle if self.middle else 0.0


def spread_of(values: Sequence[float]) -> Spread:
    """Return the spread of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def value_of(unit: Unit, sample: Sample) -> float:
    """Return a turn's headline: work a second, or the level."""
    return sample.work / sample.seconds if unit.is_rate else sample.work


def cost_of(unit: Unit, sample: Sample) -> float | None:
    """Return the server's CPU seconds for the unit's scale of work. Levels have no cost."""
    if not unit.is_rate or sample.cpu_seconds is None or not sample.work:
        return None
    return sample.cpu_seconds * unit.cost_scale / sample.work


def metric_of(name: str, unit: Unit, sample: Sample) -> float | None:
    """Return a turn's `value`, `cost`, `p99`, `resident_peak` …, or a figure of its workload."""
    if name == "value":
        return value_of(unit, sample)
    if name == "cost":
        return cost_of(unit, sample)
    if name in sample.figures:
        return sample.figures[name]
    found: float | None = getattr(sample, name, None)
    return found


def metric(row: Row, server: str, name: str) -> Spread | None:
    """Return a server's metric over its turns; None without a valid value."""
    values = _values(row, server, name)
    return spread_of(values) if values else None


def ratio(row: Row, server: str, other: str, name: str) -> Spread | None:
    """Return the ratio of a metric of two servers: the quotients of consecutive turns."""
    ours, theirs = _values(row, server, name), _values(row, other, name)
    quotients = [a / b for a, b in zip(ours, theirs, strict=False) if b]
    return spread_of(quotients) if quotients else None


def _values(row: Row, server: str, name: str) -> list[float]:
    outcome = row.outcomes.get(server)
    if outcome is None or not outcome.is_valid:
        return []
    values = [metric_of(name, row.unit, sample) for sample in outcome.samples]
    return [value for value in values if value is not None]


def encode(report: Report) -> bytes:
    """Return the report as JSON, for other programs and for later comparisons."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"


def decode(data: bytes) -> Report:
    """Return the report that `encode` encoded. Raises ValueError for other data."""
    report = msgspec.json.decode(data, type=Report)
    if report.version != VERSION:
        raise ValueError(f"a report of version {report.version}, not {VERSION}")
    return report

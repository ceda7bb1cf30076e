"""Reports for tests, with only the figures that a test needs."""

from __future__ import annotations

from benchmarks import results
from benchmarks.results import Machine, Outcome, Report, Row, Sample, Unit
from benchmarks.targets import SUBJECT

MACHINE = Machine(
    processor="a <fast> one",
    cores=2,
    memory_bytes=8_000_000_000,
    kernel="6.1",
    system="Debian 12",
    python="3.11",
    memory_file_system="tmpfs",
    disk_file_system="ext4",
)


def sample(work: float, *, errors: int = 0, cpu: float | None = 1.0, p99: float = 0.01) -> Sample:
    """Return a sample of one second."""
    messages = ("GET /v2/: 500",) if errors else ()
    return Sample(
        work=work,
        seconds=1.0,
        p50=p99 / 4,
        p90=p99 / 2,
        p99=p99,
        errors=errors,
        messages=messages,
        cpu_seconds=cpu,
        resident_peak=50_000_000,
        anonymous_peak=20_000_000,
    )


def row(
    name: str,
    *works: float,
    unit: Unit = Unit.REQUESTS,
    peers: dict[str, Outcome] | None = None,
) -> Row:
    """Return an outcome of the subject with this work in each turn."""
    ours = Outcome(tuple(sample(work) for work in works))
    return Row(name, f"what {name} is", unit, {SUBJECT: ours, **(peers or {})})


def outcome(*works: float) -> Outcome:
    """Return an outcome of a peer with this work in each turn."""
    return Outcome(tuple(sample(work) for work in works))


def report(*rows: Row) -> Report:
    servers = dict.fromkeys(name for each in rows for name in each.outcomes)
    return Report(
        version=results.VERSION,
        began="2025-01-01 12:00 UTC",
        commit="abc",
        machine=MACHINE,
        servers={name: f"{name} 1" for name in servers},
        durability=dict.fromkeys(servers, "the blob's file"),
        conditions={"rounds": "3"},
        rows=rows,
    )

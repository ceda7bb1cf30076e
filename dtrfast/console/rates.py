"""What happened in a second, from two looks at counters, or from the course that was recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dtrfast.api.v0.admin_objects import Metrics, MetricsHistory, ProcessMetrics

Values = Mapping[str, float]
# Between two looks that are closer, a counter that is written every two seconds stands still.
_SECONDS_MIN = 0.5


@dataclass(frozen=True, slots=True)
class Rates:
    """Of the host and the registry, and of each process by its name; with the names that columns
    of the recorded course have. What is not known is not there.
    """

    whole: Values = field(default_factory=dict)
    processes: Mapping[str, Values] = field(default_factory=dict)


_Pair = tuple[ProcessMetrics, ProcessMetrics]


def _requests(process: ProcessMetrics) -> float:
    return sum(process.requests.values())


_COUNTERS: Mapping[str, Callable[[ProcessMetrics], float]] = {
    "requests": _requests,
    "pulls": lambda process: process.requests.get("pull", 0),
    "pushes": lambda process: process.requests.get("push", 0),
    "refused": lambda process: process.refused,
    "failed": lambda process: process.failed,
    "bytes_in": lambda process: process.bytes_in,
    "bytes_out": lambda process: process.bytes_out,
    "commits": lambda process: process.commits,
}


def between(before: Metrics, now: Metrics) -> Rates | None:
    """None for looks that are too close to each other, or of a clock that was set back."""
    passed = now.time - before.time
    if passed < _SECONDS_MIN:
        return None
    known = {(p.name, p.pid): p for p in before.processes}
    pairs = [(known[key], p) for p in now.processes if (key := (p.name, p.pid)) in known]
    return Rates(
        {**_host(before, now, passed), **_registry(pairs, passed)},
        {new.name: _process(old, new, passed) for old, new in pairs},
    )


def recorded(course: MetricsHistory, processes: Mapping[str, MetricsHistory]) -> Rates:
    """What was written down last."""
    return Rates(_last(course), {name: _last(one) for name, one in processes.items()})


def _host(before: Metrics, now: Metrics, passed: float) -> Values:
    total = now.cpu_total_seconds - before.cpu_total_seconds
    busy = now.cpu_busy_seconds - before.cpu_busy_seconds
    percent = {"cpu_percent": 100 * max(0.0, busy) / total} if total > 0 else {}
    return {
        **percent,
        "memory_used_bytes": now.memory_used_bytes,
        "disk_used_bytes": now.disk_used_bytes,
        # Less than before where an interface has gone.
        "network_in_rate": max(0, now.network_in_bytes - before.network_in_bytes) / passed,
        "network_out_rate": max(0, now.network_out_bytes - before.network_out_bytes) / passed,
    }


def _registry(pairs: Sequence[_Pair], passed: float) -> Values:
    grown = dict.fromkeys(_COUNTERS, 0.0)
    for old, new in pairs:
        for name, read in _COUNTERS.items():
            grown[name] += max(0.0, read(new) - read(old))
    return {f"{name}_rate": value / passed for name, value in grown.items()}


def _process(old: ProcessMetrics, new: ProcessMetrics, passed: float) -> Values:
    return {
        "cpu_percent": 100 * max(0.0, new.cpu_seconds - old.cpu_seconds) / passed,
        "resident_bytes": new.resident_bytes,
        "anonymous_bytes": new.anonymous_bytes,
        "requests_rate": max(0.0, _requests(new) - _requests(old)) / passed,
    }


def _last(course: MetricsHistory) -> Values:
    known = {
        name: [value for value in values if value is not None]
        for name, values in course.columns.items()
    }
    return {name: values[-1] for name, values in known.items() if values}

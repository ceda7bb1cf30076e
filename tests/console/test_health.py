"""The health of the registry: its problems, each with a next step, and its lines."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from dtrfast.api.v0 import administration, jobs, storage
from dtrfast.console import health
from dtrfast.console.health import Check, Health, Observation
from dtrfast.metrics.report import MetricsHistory
from dtrfast.times import rfc3339
from tests.api.managed.town import Town
from tests.console.browser import Browser

NOW = 1e9
_STATE = SimpleNamespace(
    damaged_blobs=0,
    damaged_chunks=0,
    disk_bytes=100 << 30,
    disk_free_bytes=60 << 30,
    reserve_bytes=1 << 30,
    exposures=[],
)


def _process(name: str) -> SimpleNamespace:
    return SimpleNamespace(name=name, requests={"pull": 1} if name.startswith("worker") else {})


def _now(**fields: Any) -> Any:
    calm = {
        "time": NOW,
        "disk_bytes": 100 << 30,
        "disk_free_bytes": 60 << 30,
        "disk_full_at": 0.0,
        "memory_bytes": 100,
        "memory_used_bytes": 50,
        "has_cpu_limit": False,
        "has_memory_limit": False,
        "processes": [_process("worker-0"), _process("worker-1"), _process("housekeeper")],
    }
    return SimpleNamespace(**{**calm, **fields})


def _judge(
    now: Any = None,
    *,
    columns: dict[str, Any] | None = None,
    tasks: Any = (),
    runs: Any = (),
    answers: dict[Any, Any] | None = None,
    backup: Any = None,
    sync: Any = None,
    age: float = 0,
    is_secure: bool = False,
    **state: Any,
) -> Health:
    shown = SimpleNamespace(**{**vars(_STATE), **state})
    known = {
        jobs.list_jobs: SimpleNamespace(tasks=tasks, runs=runs),
        storage.get_storage: shown,
        **(answers or {}),
    }
    config = SimpleNamespace(
        auth=SimpleNamespace(mode="managed"), server=SimpleNamespace(bind="127.0.0.1:5000")
    )
    page: Any = SimpleNamespace(
        client=SimpleNamespace(config=config, is_secure=is_secure),
        glance=lambda handler, **query: known.get(handler),
    )
    hour = _hour(columns or {}, age)
    seen: Any = Observation(now or _now(), shown, hour, backup, sync)  # type: ignore[arg-type]
    return health.judge(page, seen)


def _hour(columns: dict[str, Any], age: float = 0) -> MetricsHistory:
    """Return a history whose newest step began ten seconds before `age` seconds ago."""
    count = max(map(len, columns.values()), default=0)
    times = [int(NOW - age) - 10 * (count - number) for number in range(count)]
    return MetricsHistory(step_seconds=10, times=times, columns=columns)


def _texts(found: Health) -> list[str]:
    return [problem.text for problem in found.problems]


def _line(found: Health, name: str) -> Check:
    (line,) = (check for check in found.checks if check.name == name)
    return line


def test_a_limit_is_one_of_the_server() -> None:
    limited = _now(has_cpu_limit=True, has_memory_limit=True, memory_used_bytes=96)
    found = _texts(_judge(limited, columns={"cpu_percent": [99.0] * 200}))
    assert [text.partition(" is ")[0].partition(" has ")[0] for text in found] == [
        "The server's memory",
        "The server's CPU",
    ]


def test_values_of_an_earlier_time_are_not_current() -> None:
    columns = {"cpu_percent": [99.0] * 200, "network_in_rate": [5.0] * 199 + [None]}
    for age, busy in ((0, 99.0), (40, 99.0), (70, None), (1200, None)):
        line = _line(_judge(columns=columns, age=age), "Host").text
        assert ("CPU" in line) == (busy is not None), age
        seen = Observation(_now(), None, _hour(columns, age))  # type: ignore[arg-type]
        assert seen.current("cpu_percent") == busy, age
        assert seen.current("network_in_rate") == (None if busy is None else 5.0), age
        assert seen.current("no_such_column") is None
    # The server was off for a while: its steps of that time are left out.
    for age, is_told in ((0, True), (120, True), (600, False), (1200, False)):
        found = _texts(_judge(columns=columns, age=age))
        assert bool(found) == is_told, age


def test_a_healthy_registry_says_so() -> None:
    found = _judge(columns={"cpu_percent": [99.0] * 10, "failed_rate": [None, 0.0]})
    summary = "All well; 1 check has no data"
    assert (found.problems, found.level, found.summary) == ([], "good", summary)
    assert {check.name: (check.level, check.text) for check in found.checks} == {
        "Processes": ("good", "2 workers, housekeeper"),
        "Disk": ("good", "60.0 GiB free"),
        "Content": ("good", "no damage known"),
        "Requests": ("good", "0 failed in an hour"),
        "Jobs": ("good", "none failing"),
        "Host": ("good", "CPU 99\u202f%, memory 50\u202f%"),
        "Certificate": ("good", "none: plain HTTP"),
        "Backup": ("unknown", "none known"),
    }


def test_each_problem_has_a_level_and_a_next_step() -> None:
    only_worker = [_process("worker-0")]
    task = SimpleNamespace(name="trash", error="no room")
    run = SimpleNamespace(job="measure", state="worker_dead", result="it ended")
    last_week = SimpleNamespace(outcome="ok", time=rfc3339(NOW - 9 * 86_400))
    partial = SimpleNamespace(outcome="failed", time=rfc3339(NOW))
    sync = SimpleNamespace(error="no answer", problems=[], started_at=rfc3339(NOW))
    cases: list[tuple[str, str, str, Health]] = [
        ("busy for 15 minutes", "Host", "warning", _judge(columns={"cpu_percent": [99.0] * 200})),
        ("memory is nearly", "Host", "warning", _judge(_now(memory_used_bytes=99))),
        (
            "3 requests failed",
            "Requests",
            "warning",
            _judge(columns={"failed_rate": [0.2, None, 0.1]}),
        ),
        ("housekeeper is not", "Processes", "error", _judge(_now(processes=only_worker))),
        ("The disk will be full <time", "Disk", "warning", _judge(_now(disk_full_at=NOW + 86_400))),
        ("The disk is full", "Disk", "error", _judge(disk_free_bytes=1)),
        ("1 chunk", "Content", "error", _judge(damaged_chunks=1)),
        ("may reach", "Content", "warning", _judge(exposures=["others may reach /data"])),
        ("trash fails: no room", "Jobs", "error", _judge(tasks=[task])),
        ("measure failed: it ended", "Jobs", "error", _judge(runs=[run])),
        ("9 days old", "Backup", "warning", _judge(backup=last_week)),
        ("missing files", "Backup", "error", _judge(backup=partial)),
        ("no answer", "Directory", "warning", _judge(sync=sync)),
    ]
    for text, name, level, found in cases:
        (problem,) = found.problems
        assert text in problem.text, text
        assert (problem.level, found.level) == (level, level), text
        assert problem.link.startswith("/"), text
        assert problem.link_text, text
        assert _line(found, name).level == level, text
        assert found.summary == "1 problem", text
        others = [one for one in found.checks if one.name != name]
        assert {one.level for one in others} <= {"good", "unknown"}, text


def test_errors_come_before_warnings() -> None:
    found = _judge(_now(memory_used_bytes=99, processes=[_process("worker-0")]))
    assert [problem.level for problem in found.problems] == ["error", "warning"]
    assert found.summary == "2 problems"


def test_a_job_that_works_again_is_no_problem() -> None:
    runs = [
        SimpleNamespace(job="check", state="done", result=""),
        SimpleNamespace(job="check", state="error", result="before"),
    ]
    assert _texts(_judge(tasks=[SimpleNamespace(name="scrub", error="")], runs=runs)) == []


@pytest.mark.parametrize("days", [10, 90])
def test_the_certificate_and_the_backup_show_their_times(days: int) -> None:
    end = rfc3339(int(time.time()) + days * 86_400)
    certificate = SimpleNamespace(not_after=end)
    made = SimpleNamespace(outcome="ok", time=rfc3339(NOW - 3600))
    found = _judge(
        is_secure=True, answers={administration.get_certificate: certificate}, backup=made
    )
    line = _line(found, "Certificate")
    assert (line.text, line.at) == ("expires", end)
    assert line.level == ("warning" if days == 10 else "good")
    backup = _line(found, "Backup")
    assert (backup.level, backup.text, backup.at) == ("good", "made", made.time)


def test_the_dashboard_begins_with_health_and_ends_with_internals(town: Town) -> None:
    page = Browser(town, "admin").get("/dashboard").text
    places = [page.index(f'id="{name}"') for name in ("health", "activity", "charts", "internals")]
    assert places == sorted(places)
    # In the frame of other pages notices stand above; here they are problems, and stand once.
    assert 'class="checks"' in page
    heading = page[places[0] - 4 :].partition("</h2>")[0]
    assert heading.startswith('<h2 id="health" class='), "it stays a heading"
    assert '<span role="status">' in heading
    closed = page[places[-1] :]
    assert "Commits" in closed
    assert "Commits" not in page[: places[-1]]
    assert page.count("Images pushed") == 2, "a number, and its meaning"

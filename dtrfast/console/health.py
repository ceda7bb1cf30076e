"""The health of the registry: a line for each part, and the open problems with a next step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dtrfast.api.v0 import administration, jobs
from dtrfast.api.v0.objects import AuditEvent, LdapSyncReport
from dtrfast.api.v0.storage_objects import Storage
from dtrfast.console import frame
from dtrfast.console.formatting import count, sentence, size, when
from dtrfast.console.frame import Notice
from dtrfast.console.page import PageRequest
from dtrfast.metrics.report import Metrics, MetricsHistory
from dtrfast.times import parse_rfc3339, rfc3339

Level = Literal["good", "unknown", "warning", "error"]

# The history has a point every ten seconds. A point older than a minute is not current.
CURRENT_SECONDS = 60

_NEARLY = 0.95
_BUSY_SECONDS = 15 * 60
# The part of that time with known values. A busy host may leave out some steps.
_BUSY_PART = 0.8
# The time that an administrator needs to order a disk.
_DISK_FULL_SECONDS = 14 * 86_400
_BACKUP_SECONDS_MAX = 7 * 86_400
_PROBLEMS_SHOWN_MAX = 10
_RUNS_LOOKED_AT = 50


@dataclass(frozen=True, slots=True)
class Check:
    """A line of the summary. `at` is a time that follows the text, in RFC 3339."""

    name: str
    level: Level
    text: str
    link: str
    at: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """Open problems, errors first, and a line for each part."""

    problems: Sequence[Notice]
    checks: Sequence[Check]

    @property
    def level(self) -> Level:
        return _level(self.problems)

    @property
    def summary(self) -> str:
        """The state in words."""
        if not self.problems:
            unknown = sum(one.level == "unknown" for one in self.checks)
            checks = "1 check has" if unknown == 1 else f"{unknown} checks have"
            return f"All well; {checks} no data" if unknown else "All well"
        return f"{len(self.problems)} problem{'' if len(self.problems) == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Observation:
    """The values that the health is judged by. `hour` are the metrics of the last hour; `sync` is
    the last synchronization with the directory, if there is one.
    """

    now: Metrics
    state: Storage
    hour: MetricsHistory
    backup: AuditEvent | None = None
    sync: LdapSyncReport | None = None

    def current(self, column: str) -> float | None:
        """Return the newest value of a column; None if the last minute has no value."""
        known = self.hour.since(column, self.now.time - CURRENT_SECONDS)
        return known[-1] if known else None

    @property
    def failed_count(self) -> int:
        """The number of requests that failed in the last hour."""
        rates = self.hour.columns.get("failed_rate", ())
        return round(sum(rate or 0 for rate in rates) * self.hour.step_seconds)


def last_backup(page: PageRequest) -> AuditEvent | None:
    """Return the event of the last backup, if the newest part of the audit log has one."""
    found = page.glance(administration.list_events, query={"kind": "backup", "limit": 1})
    return found.events[0] if found is not None and found.events else None


def judge(page: PageRequest, seen: Observation) -> Health:
    """Return the health of the registry."""
    problems = [
        *frame.notices(page, seen.state),
        *_of_disk(seen),
        *_of_host(seen),
        *_of_requests(seen),
        *_of_processes(seen.now),
        *_of_jobs(page),
        *_of_backup(seen),
        *_of_directory(seen.sync),
    ]
    problems.sort(key=lambda one: one.level)  # "error" stands before "warning"
    return Health(problems, _checks(page, seen, problems))


# ---- problems ----------------------------------------------------------------------------------
def _of_disk(seen: Observation) -> list[Notice]:
    found = [
        Notice("warning", text, "/settings/storage", "Storage", about="content")
        for text in seen.state.exposures
    ]
    full_at = seen.now.disk_full_at
    if full_at and full_at < seen.now.time + _DISK_FULL_SECONDS:
        text = sentence(
            "The disk will be full {} at this pace. Delete images, or add space.",
            when(rfc3339(full_at), now=seen.now.time),
        )
        found.append(Notice("warning", text, "/settings/storage", "Storage", about="disk"))
    return found


def _of_host(seen: Observation) -> list[Notice]:
    found: list[Notice] = []
    if seen.now.memory_bytes and seen.now.memory_used_bytes > _NEARLY * seen.now.memory_bytes:
        owner = "server" if seen.now.has_memory_limit else "host"
        text = f"The {owner}'s memory is nearly used up. Run fewer workers, or add memory."
        found.append(Notice("warning", text, "/settings/general", "Workers", about="host"))
    busy = seen.hour.since("cpu_percent", seen.now.time - _BUSY_SECONDS)
    is_known = len(busy) * seen.hour.step_seconds >= _BUSY_PART * _BUSY_SECONDS
    if is_known and min(busy) > 100 * _NEARLY:
        owner = "server" if seen.now.has_cpu_limit else "host"
        text = f"The {owner}'s CPU has been busy for 15 minutes."
        text += " See which repositories are used most."
        found.append(Notice("warning", text, "/dashboard#busiest", "Busiest", about="host"))
    return found


def _of_requests(seen: Observation) -> list[Notice]:
    failed = seen.failed_count
    if not failed:
        return []
    text = f"{count(failed)} {'request' if failed == 1 else 'requests'} failed in the last hour."
    return [Notice("warning", f"{text} Read why.", "/logs?level=error", "Errors", about="requests")]


def _of_processes(now: Metrics) -> list[Notice]:
    names = {process.name for process in now.processes}
    # Under another ASGI server the tasks run in one of its workers.
    if "housekeeper" in names or not any(name.startswith("worker") for name in names):
        return []
    text = "The housekeeper is not running: no space is freed. Read why; a restart starts it again."
    return [Notice("error", text, "/logs", "Log", about="processes")]


def _of_jobs(page: PageRequest) -> list[Notice]:
    """Return the tasks and jobs whose last run failed."""
    known = page.glance(jobs.list_jobs, query={"limit": _RUNS_LOOKED_AT})
    if known is None:
        return []
    found = [
        Notice(
            "error",
            f"The task {task.name} fails: {task.error}.",
            "/settings/jobs#internals",
            "Task",
            about="jobs",
        )
        for task in known.tasks
        if task.error
    ]
    last = {run.job: run for run in reversed(known.runs)}
    return found + [
        Notice(
            "error",
            f"The job {run.job} failed: {run.result}. Run it again.",
            "/settings/jobs",
            "Jobs",
            about="jobs",
        )
        for run in last.values()
        if run.state in ("error", "worker_dead")
    ]


def _of_backup(seen: Observation) -> list[Notice]:
    last, link = seen.backup, ("/logs/audit?kind=backup", "Backups")
    if last is None:
        return []
    if last.outcome != "ok":
        text = "The last backup has missing files. Check the store with `dtrfast verify`."
        return [Notice("error", text, *link, about="backup")]
    days = (seen.now.time - parse_rfc3339(last.time)) // 86_400
    if days * 86_400 < _BACKUP_SECONDS_MAX:
        return []
    text = f"The last backup is {days:.0f} days old. Run `dtrfast backup` from a timer."
    return [Notice("warning", text, *link, about="backup")]


def _of_directory(last: LdapSyncReport | None) -> list[Notice]:
    if last is None:
        return []
    texts = [f"LDAP was not synchronized: {last.error}"] if last.error else []
    texts += [f"LDAP: {p.subject}: {p.dn}: {p.reason}" for p in last.problems[:_PROBLEMS_SHOWN_MAX]]
    if len(last.problems) > _PROBLEMS_SHOWN_MAX:
        texts.append(f"LDAP: {len(last.problems) - _PROBLEMS_SHOWN_MAX} more problems")
    return [
        Notice("warning", text, "/settings/auth#ldap", "Directory", about="directory")
        for text in texts
    ]


# ---- the summary -------------------------------------------------------------------------------
def _level(problems: Sequence[Notice]) -> Literal["good", "warning", "error"]:
    levels = {one.level for one in problems}
    return "error" if "error" in levels else "warning" if levels else "good"


@dataclass(frozen=True, slots=True)
class _Lines:
    """Makes lines of the summary. The problems about a part give the level of its line."""

    problems: Sequence[Notice]

    def about(self, name: str) -> Sequence[Notice]:
        return [one for one in self.problems if one.about == name]

    def line(
        self, about: str, text: str, link: str, *, at: str = "", is_known: bool = True
    ) -> Check:
        level = _level(self.about(about))
        is_unknown = level == "good" and not is_known
        return Check(about.capitalize(), "unknown" if is_unknown else level, text, link, at)


def _checks(page: PageRequest, seen: Observation, problems: Sequence[Notice]) -> list[Check]:
    """Return a line for each part of the registry."""
    lines = _Lines(problems)
    damaged = seen.state.damaged_blobs + seen.state.damaged_chunks
    content = f"{count(damaged)} damaged" if damaged else "no damage known"
    failing = len(lines.about("jobs"))
    jobs_text = f"{failing} failing" if failing else "none failing"
    requests = f"{count(seen.failed_count)} failed in an hour"
    checks = [
        _processes(seen.now, lines),
        _disk(seen.now, lines),
        lines.line("content", content, "/settings/storage#damages"),
        lines.line("requests", requests, "/logs?level=error"),
        lines.line("jobs", jobs_text, "/settings/jobs"),
        _host(seen, lines),
        _certificate(page, lines),
        _backup(seen, lines),
    ]
    if seen.sync is not None:
        text = "not synchronized" if seen.sync.error else "synchronized"
        at = seen.sync.started_at
        checks.append(lines.line("directory", text, "/settings/auth#ldap", at=at))
    return checks


def _processes(now: Metrics, lines: _Lines) -> Check:
    workers = sum(bool(process.requests) for process in now.processes)
    texts = [f"{workers} worker{'' if workers == 1 else 's'}"] if workers else []
    texts += ["housekeeper" for process in now.processes if process.name == "housekeeper"]
    text = ", ".join(texts) or "no report yet"
    return lines.line("processes", text, "/dashboard#internals", is_known=bool(texts))


def _disk(now: Metrics, lines: _Lines) -> Check:
    free = f"{size(now.disk_free_bytes)} free"
    if now.disk_full_at:
        text = f"{free}; at this pace full"
        return lines.line("disk", text, "/settings/storage", at=rfc3339(now.disk_full_at))
    return lines.line("disk", free, "/settings/storage", is_known=bool(now.disk_bytes))


def _host(seen: Observation, lines: _Lines) -> Check:
    busy = seen.current("cpu_percent")
    memory = 100 * seen.now.memory_used_bytes / max(1, seen.now.memory_bytes)
    cpu = "" if busy is None else f"CPU {busy:.0f}\u202f%, "
    text = f"{cpu}memory {memory:.0f}\u202f%"
    return lines.line("host", text, "/dashboard#host", is_known=bool(seen.now.memory_bytes))


def _certificate(page: PageRequest, lines: _Lines) -> Check:
    link = "/settings/security"
    if not page.client.is_secure:
        return lines.line("certificate", "none: plain HTTP", link)
    shown = page.glance(administration.get_certificate)
    if shown is None:
        return lines.line("certificate", "that of the proxy", link, is_known=False)
    has_expired = parse_rfc3339(shown.not_after) < time.time()
    text = "expired" if has_expired else "expires"
    return lines.line("certificate", text, link, at=shown.not_after)


def _backup(seen: Observation, lines: _Lines) -> Check:
    link = "/logs/audit?kind=backup"
    if seen.backup is None:
        return lines.line("backup", "none known", link, is_known=False)
    text = "made" if seen.backup.outcome == "ok" else "incomplete,"
    return lines.line("backup", text, link, at=seen.backup.time)

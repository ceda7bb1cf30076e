"""What the management API sends to who looks after the registry: jobs, metrics, logs."""

from __future__ import annotations

from typing import Any, Literal

from dtrfast.api.v0.objects import Sent


# ---- jobs --------------------------------------------------------------------------------------
class Job(Sent, frozen=True, kw_only=True):
    """Something that may be asked of the housekeeper."""

    name: str
    title: str
    is_waiting: bool = False


class JobTask(Sent, frozen=True, kw_only=True):
    """What the housekeeper does by itself; `workedAt` is when it last had something to do."""

    name: str
    interval_seconds: float
    worked_at: str
    worked_seconds: float
    did: int
    failed_at: str
    error: str


class JobRun(Sent, frozen=True, kw_only=True):
    id: str
    job: str
    state: Literal["waiting", "running", "done", "error", "canceled", "worker_dead"]
    asked_by: str
    asked_at: str
    started_at: str
    ended_at: str
    result: str
    log: list[str]


class Jobs(Sent, frozen=True, kw_only=True):
    """`nextPageStart` is of the runs, which are the latest first."""

    jobs: list[Job]
    tasks: list[JobTask]
    runs: list[JobRun]
    next_page_start: str = ""


# ---- metrics -----------------------------------------------------------------------------------
class ProcessMetrics(Sent, frozen=True, kw_only=True):
    """A process of the server. Counters count since it began; times are seconds since the epoch.
    `sampledAt` is when it looked at itself, each two seconds: growth is over the time in between.
    `blobsPlaced` to `blobsFailed` count calls of the blob store; failures by the name of the error.
    """

    name: str
    pid: int
    started_at: float
    sampled_at: float
    cpu_seconds: float
    resident_bytes: int
    anonymous_bytes: int
    threads: int
    descriptors: int
    commits: int
    changes: int
    commit_seconds: float
    requests: dict[str, int]
    refused: int
    failed: int
    hot: int
    bytes_in: int
    bytes_out: int
    blobs_placed: int
    blobs_placed_bytes: int
    blobs_opened: int
    blobs_read_bytes: int
    blobs_released: int
    blobs_failed: dict[str, int]


class BusyRepository(Sent, frozen=True, kw_only=True):
    """What was asked of a repository in the last five to ten minutes."""

    name: str
    requests: int
    bytes_in: int
    bytes_out: int


class Metrics(Sent, frozen=True, kw_only=True):
    """`diskFullAt` is when the disk is full at the pace of the last days; 0: not soon, or not
    known. `pullSeconds` and `pushSeconds` are the 50, 95 and 99 % quantiles.
    """

    time: float
    cores: int
    load: float
    cpu_busy_seconds: float
    cpu_total_seconds: float
    memory_used_bytes: int
    memory_bytes: int
    disk_used_bytes: int
    disk_free_bytes: int
    disk_bytes: int
    disk_full_at: float
    network_in_bytes: int
    network_out_bytes: int
    processes: list[ProcessMetrics]
    busiest: list[BusyRepository]
    pull_seconds: list[float]
    push_seconds: list[float]


class MetricsHistory(Sent, frozen=True, kw_only=True):
    """Courses: for each time (seconds since the epoch) a value of each column."""

    times: list[int]
    columns: dict[str, list[float | None]]


# ---- logs --------------------------------------------------------------------------------------
class LogLine(Sent, frozen=True, kw_only=True):
    """A message of a process, or a request that it answered. `isCut`: the answer was not whole."""

    time: str
    level: str
    process: str
    kind: Literal["message", "request"]
    text: str
    logger: str
    traceback: str
    method: str
    path: str
    status: int
    bytes_in: int
    bytes_out: int
    seconds: float
    remote: str
    user: str
    repository: str
    user_agent: str
    is_cut: bool


class LogLines(Sent, frozen=True, kw_only=True):
    """`cursor` is the end of the log; `nextPageStart` goes on with older lines."""

    lines: list[LogLine]
    cursor: str
    next_page_start: str = ""


# ---- diagnostics -------------------------------------------------------------------------------
class Diagnostics(Sent, frozen=True, kw_only=True):
    """A support bundle. It has names and addresses of users, and no password, token or key."""

    made_at: str
    versions: dict[str, str]
    started_with: list[dict[str, str]]
    settings: dict[str, Any]
    metrics: dict[str, Any]
    history: dict[str, Any]
    store: dict[str, Any]
    jobs: dict[str, Any]
    log: list[dict[str, Any]]

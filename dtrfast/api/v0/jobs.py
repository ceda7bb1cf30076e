"""Operations on the jobs and tasks of the housekeeper."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dtrfast.api.v0 import views
from dtrfast.api.v0.lists import PageQuery
from dtrfast.api.v0.objects import ApiObject, ListPage
from dtrfast.api.v0.operation import ApiCall, Operations

operations = Operations("jobs")


class Job(ApiObject, frozen=True, kw_only=True):
    """A job of the housekeeper that administrators can run. `isWaiting`: a run is requested."""

    name: str
    title: str
    is_waiting: bool = False


class JobTask(ApiObject, frozen=True, kw_only=True):
    """A task that the housekeeper repeats. It last had work at `workedAt`; `did` counts the things
    done then.
    """

    name: str
    interval_seconds: float
    worked_at: str
    worked_seconds: float
    did: int
    failed_at: str
    error: str


class JobRun(ApiObject, frozen=True, kw_only=True):
    id: str
    job: str
    state: Literal["waiting", "running", "done", "error", "canceled", "worker_dead"]
    asked_by: str
    asked_at: str
    started_at: str
    ended_at: str
    result: str
    log: list[str]


class Jobs(ListPage, frozen=True, kw_only=True):
    """Jobs, tasks, and a page of runs, the latest first."""

    jobs: list[Job]
    tasks: list[JobTask]
    runs: list[JobRun]


class JobsQuery(PageQuery, frozen=True, rename="camel", kw_only=True):
    """`start` is the number of a run: older runs follow. `job` and `state` filter the runs."""

    job: Annotated[str, Meta(max_length=80)] = ""
    state: Literal["", "running", "done", "error", "canceled", "worker_dead"] = ""


@operations.add("GET", "/admin/jobs")
def list_jobs(call: ApiCall, query: JobsQuery) -> Jobs:
    """List the tasks of the housekeeper, the jobs that can be requested, and their runs."""
    jobs = call.registry.jobs(has_directory=_has_directory(call))
    board = jobs.board(query.request.number, query.count, query.job, query.state)
    return Jobs(
        jobs=[views.show(Job, one) for one in board.jobs],
        tasks=[views.show(JobTask, one) for one in board.tasks],
        runs=[views.show(JobRun, one, asked_by=one.by) for one in board.runs],
        next_page_start=board.next_start,
    )


def _has_directory(call: ApiCall) -> bool:
    return call.config.auth.mode == "managed"


@operations.add("POST", "/admin/jobs/{job}/run", status=202)
def run_job(call: ApiCall) -> Job:
    """Request a run of a job or a task: the housekeeper starts it once no other job runs."""
    return _request(call, is_cancel=False)


@operations.add("POST", "/admin/jobs/{job}/cancel", status=202, refusals=(409,))
def cancel_job(call: ApiCall) -> Job:
    """Cancel a job that runs, or waits to run. Its work so far stays."""
    return _request(call, is_cancel=True)


def _request(call: ApiCall, *, is_cancel: bool) -> Job:
    name = call.path["job"]
    jobs = call.registry.jobs(has_directory=_has_directory(call))
    requested = jobs.request(name, is_cancel=is_cancel)
    call.note("job.cancel" if is_cancel else "job.run", name)
    return views.show(Job, requested)

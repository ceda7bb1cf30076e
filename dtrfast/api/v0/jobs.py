"""Jobs: what the housekeeper does by itself, and what one may ask of it."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import Annotated, Literal

from msgspec import Meta

from dtrfast.api.v0 import admin_objects as objects
from dtrfast.api.v0.lists import PageQuery
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.errors import Conflict, CredentialUnknown
from dtrfast.index.engine import ReadTransaction
from dtrfast.registry import jobs
from dtrfast.registry.jobs import Run, TaskState, Wish
from dtrfast.times import rfc3339

operations = Operations("jobs")

# What can be asked for besides the tasks, and what it does.
TITLES = {
    "check": "Read everything that is stored, and mark what is damaged",
    "empty-trash": "Empty the trash, for good",
    "ldap-sync": "Synchronise with the LDAP directory",
    "measure": "Measure how much room each repository takes",
}


class JobsQuery(PageQuery, frozen=True, rename="camel", kw_only=True):
    """`start` is the number of a run; older ones follow. `job` and `state` choose among them."""

    job: Annotated[str, Meta(max_length=80)] = ""
    state: Literal["", "running", "done", "error", "canceled", "worker_dead"] = ""


@operations.add("GET", "/admin/jobs", answer=objects.Jobs, query=JobsQuery)
def list_jobs(call: ApiCall) -> objects.Jobs:
    """List what the housekeeper does by itself, what may be asked of it, and what it ran."""
    query: JobsQuery = call.query
    before = int(query.start) if query.start.isdecimal() and len(query.start) < 18 else 0
    with call.identity.engine.read() as transaction:
        call.require_admin(transaction)
        tasks = [_task(state) for state in jobs.tasks(transaction)]
        waiting = {wish.job for wish in jobs.wishes(transaction) if not wish.is_cancel}
        wanted = (run for run in jobs.runs(transaction, before) if _is_wanted(run, query))
        found = list(islice(wanted, query.count + 1))
    more = str(found[query.count - 1].id) if len(found) > query.count > 0 else ""
    return objects.Jobs(
        jobs=[
            objects.Job(name=name, title=title, is_waiting=name in waiting)
            for name, title in _titles(call).items()
        ],
        tasks=tasks,
        runs=[_run(run) for run in found[: query.count]],
        next_page_start=more,
    )


def _is_wanted(run: Run, query: JobsQuery) -> bool:
    return query.job in ("", run.job) and query.state in ("", run.state)


def _task(state: TaskState) -> objects.JobTask:
    return objects.JobTask(
        name=state.name,
        interval_seconds=state.interval_seconds,
        worked_at=_time(state.worked_at),
        worked_seconds=state.worked_seconds,
        did=state.did,
        failed_at=_time(state.failed_at),
        error=state.error,
    )


def _run(run: Run) -> objects.JobRun:
    return objects.JobRun(
        id=str(run.id),
        job=run.job,
        state=run.state,
        asked_by=run.by,
        asked_at=_time(run.asked_at),
        started_at=_time(run.started_at),
        ended_at=_time(run.ended_at),
        result=run.result,
        log=list(run.log),
    )


def _time(seconds: int) -> str:
    return rfc3339(seconds) if seconds else ""


def _titles(call: ApiCall) -> dict[str, str]:
    """The jobs that this server has: without accounts there is nothing to synchronise."""
    is_managed = call.config.auth.mode == "managed"
    return {name: title for name, title in TITLES.items() if name != "ldap-sync" or is_managed}


def _name(call: ApiCall, transaction: ReadTransaction) -> str:
    name = call.path["job"]
    known = {*_titles(call), *(state.name for state in jobs.tasks(transaction))}
    if name not in known:
        raise CredentialUnknown(f"there is no job {name[:80]!r}")
    return name


@operations.add("POST", "/admin/jobs/{job}/run", status=202, answer=objects.Job, refusals=(404,))
def run_job(call: ApiCall) -> objects.Job:
    """Have a job or a task done now: the housekeeper begins once no other job runs."""
    return _wish(call, is_cancel=False)


@operations.add(
    "POST", "/admin/jobs/{job}/cancel", status=202, answer=objects.Job, refusals=(404, 409)
)
def cancel_job(call: ApiCall) -> objects.Job:
    """End a job that runs, or waits to. What it did stays done."""
    return _wish(call, is_cancel=True)


def _wish(call: ApiCall, *, is_cancel: bool) -> objects.Job:
    with call.identity.engine.read() as transaction:
        call.require_admin(transaction)
        name = _name(call, transaction)
    if is_cancel and name not in TITLES:
        raise Conflict(f"{name} is no job but a task: it ends by itself, and comes round again")
    wanted = Wish(name, call.caller.actor, call.identity.clock(), is_cancel)
    if not call.identity.engine.write(partial(jobs.wish, wanted=wanted)):
        raise Conflict(f"the job {name} neither runs nor waits to")
    call.note("job.cancel" if is_cancel else "job.run", name)
    return objects.Job(name=name, title=TITLES.get(name, name), is_waiting=not is_cancel)

"""`dtrfast job`: request jobs of the server's housekeeper, and show their runs."""

from __future__ import annotations

import time
from typing import Annotated, Any

from cyclopts import App, Parameter

from dtrfast.cli import progress
from dtrfast.cli.accounts import At
from dtrfast.cli.api_client import Api, connect
from dtrfast.cli.exit_status import FAILED, OK
from dtrfast.cli.options import HERE
from dtrfast.cli.output import done, finish, remark, show_json, show_rows
from dtrfast.cli.progress import Meter
from dtrfast.errors import NameInvalid

jobs = App(name="job", help="Request jobs of the housekeeper, and see their results.")

_POLL_SECONDS = 1.0


@jobs.command(name="list")
def list_jobs(*, at: At = HERE) -> None:
    """List the jobs that you can request, and the last runs."""
    with connect(at) as api:
        found = api.call("GET", "admin", "jobs")
    if at.json:
        show_json(found)
        return
    show_rows(found["jobs"], ("name", "title"), is_wide=at.wide)
    runs = ("job", "state", "startedAt", "result", "askedBy")
    if found["runs"]:
        show_rows(found["runs"], runs, is_wide=at.wide)
    else:
        remark("no run is recorded yet")


@jobs.command
def run(
    job: str,
    *,
    follow: Annotated[
        bool,
        Parameter(
            help="Wait for the end of the run, show its progress, and fail if it fails.",
            negative="",
        ),
    ] = False,
    at: At = HERE,
) -> int:
    """Run JOB, or a task of the housekeeper, now."""
    with connect(at) as api:
        last = _newest(api, job) if follow else None
        answer = api.call("POST", "admin", "jobs", job, "run")
        if not follow:
            text = f"requested {job}: the server's housekeeper begins it when no other job runs"
            done(at, answer, text)
            return OK
        with progress.shown(f"wait for {job}") as meter:
            ended = _wait(api, job, last, meter)
    lines = [f"{job} is {ended['state']}: {ended['result']}"]
    finish(ended, lines, is_json=at.json)
    return OK if ended["state"] == "done" else FAILED


def _newest(api: Api, job: str) -> str | None:
    """Return the id of a job's newest run, None if it has none. Raises `NameInvalid` for a task,
    which leaves no run to wait for.
    """
    found = api.call("GET", "admin", "jobs", query={"job": job, "limit": "1"})
    if all(one["name"] != job for one in found["jobs"]):
        if any(one["name"] == job for one in found["tasks"]):
            raise NameInvalid(f"{job} is a task, not a job: run it without --follow")
        raise NameInvalid(f"there is no job {job!r}: see `dtrfast job list`")
    return str(found["runs"][0]["id"]) if found["runs"] else None


def _wait(api: Api, job: str, last: str | None, meter: Meter) -> dict[str, Any]:
    """Return the run after the run `last`, once it has ended. Ctrl-C ends only the waiting."""
    while True:
        found = api.call("GET", "admin", "jobs", query={"job": job, "limit": "1"})
        newest: dict[str, Any] | None = next(iter(found["runs"]), None)
        if newest is not None and newest["id"] != last:
            if newest["endedAt"]:
                return newest
            meter.wait(newest["log"][-1] if newest["log"] else f"{job} runs")
        elif not any(one["name"] == job and one["isWaiting"] for one in found["jobs"]):
            if newest is None or newest["endedAt"]:
                return {"job": job, "state": "canceled", "result": "canceled before it began"}
        else:
            meter.wait(f"wait for the housekeeper to begin {job}")
        time.sleep(_POLL_SECONDS)


@jobs.command
def cancel(job: str, *, at: At = HERE) -> None:
    """Cancel JOB, which runs or waits to run. The work that it has done stays."""
    with connect(at) as api:
        answer = api.call("POST", "admin", "jobs", job, "cancel")
    done(at, answer, f"requested the end of {job}")

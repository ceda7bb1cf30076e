"""`dtrfast job`: request jobs of the server's housekeeper, and show their runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from dtrfast.cli import progress
from dtrfast.cli.accounts import At
from dtrfast.cli.api_client import Api, connect
from dtrfast.cli.exit_status import FAILED, OK
from dtrfast.cli.options import HERE, RegistryOptions
from dtrfast.cli.output import done, finish, remark, show_json, show_rows
from dtrfast.cli.progress import Meter
from dtrfast.cli.registry_choice import choose
from dtrfast.config import load
from dtrfast.errors import NameInvalid, StartRefused
from dtrfast.machine import locks

jobs = App(name="job", help="Request jobs of the housekeeper, and see their results.")

_POLL_SECONDS = 1.0
# A housekeeper that died, or whose server has just begun to listen, is there again before this.
_HOUSEKEEPER_SECONDS = 10.0


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
        if not follow:
            answer = api.call("POST", "admin", "jobs", job, "run")
            text = f"requested {job}: the server's housekeeper begins it when no other job runs"
            done(at, answer, text)
            return OK
        last = _newest(api, job)
        with progress.shown(f"wait for {job}") as meter:
            require_housekeeper = partial(_require_housekeeper, _local_data(at), job, meter)
            require_housekeeper()
            api.call("POST", "admin", "jobs", job, "run")
            ended = _wait(api, job, last, meter, require_housekeeper)
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


def _local_data(at: RegistryOptions) -> Path | None:
    """Return the data directory that the options select; None for a registry behind a URL."""
    if choose(at, os.environ) is not None:
        return None
    return load(at.config, os.environ, {"store.data": at.data}).store.data


def _require_housekeeper(data: Path | None, job: str, meter: Meter) -> None:
    """Raise `StartRefused` if no server works on the data directory: the job would never end.
    A registry behind a URL has a server.
    """
    deadline = time.monotonic() + _HOUSEKEEPER_SECONDS
    while data is not None and (descriptor := locks.try_housekeeper(data)) is not None:
        os.close(descriptor)
        if time.monotonic() >= deadline:
            raise StartRefused(
                f"no server works on {data}, so {job} would not end: start a server, then see"
                " `dtrfast job list`"
            )
        meter.wait("wait for a server to start")
        time.sleep(_POLL_SECONDS)


def _wait(
    api: Api, job: str, last: str | None, meter: Meter, require_housekeeper: Callable[[], None]
) -> dict[str, Any]:
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
        require_housekeeper()  # last: a run may end just before the server does
        time.sleep(_POLL_SECONDS)


@jobs.command
def cancel(job: str, *, at: At = HERE) -> None:
    """Cancel JOB, which runs or waits to run. The work that it has done stays."""
    with connect(at) as api:
        answer = api.call("POST", "admin", "jobs", job, "cancel")
    done(at, answer, f"requested the end of {job}")

"""`dtrfast job`: what the housekeeper of a server may be asked for, and what it did."""

from __future__ import annotations

from cyclopts import App

from dtrfast.cli.accounts import At
from dtrfast.cli.connection import HERE, connect
from dtrfast.cli.output import say, show, show_json

jobs = App(name="job", help="Ask the housekeeper for a job, and see what it did.")


@jobs.command(name="list")
def list_jobs(*, at: At = HERE) -> None:
    """List jobs that may be asked for, and the last runs."""
    with connect(at) as api:
        found = api.call("GET", "admin", "jobs")
    if at.json:
        show_json(found)
        return
    show(at, found["jobs"], ("name", "title"))
    show(at, found["runs"], ("job", "state", "askedBy", "startedAt", "result"))


@jobs.command
def run(job: str, *, at: At = HERE) -> None:
    """Have JOB, or a task of the housekeeper, done now."""
    with connect(at) as api:
        api.call("POST", "admin", "jobs", job, "run")
    say(f"asked for {job}: the server's housekeeper begins once no other job runs")


@jobs.command
def cancel(job: str, *, at: At = HERE) -> None:
    """End JOB, which runs or waits to; what it did stays done."""
    with connect(at) as api:
        api.call("POST", "admin", "jobs", job, "cancel")
    say(f"{job} is being cancelled")

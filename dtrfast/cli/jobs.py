"""`dtrfast job`: request jobs of the server's housekeeper, and show their runs."""

from __future__ import annotations

from cyclopts import App

from dtrfast.cli.accounts import At
from dtrfast.cli.api_client import HERE, connect
from dtrfast.cli.output import say, show, show_json

jobs = App(name="job", help="Request jobs of the housekeeper, and see their results.")


@jobs.command(name="list")
def list_jobs(*, at: At = HERE) -> None:
    """List the jobs that you can request, and the last runs."""
    with connect(at) as api:
        found = api.call("GET", "admin", "jobs")
    if at.json:
        show_json(found)
        return
    show(at, found["jobs"], ("name", "title"))
    show(at, found["runs"], ("job", "state", "askedBy", "startedAt", "result"))


@jobs.command
def run(job: str, *, at: At = HERE) -> None:
    """Run JOB, or a task of the housekeeper, now."""
    with connect(at) as api:
        api.call("POST", "admin", "jobs", job, "run")
    say(f"requested {job}: the server's housekeeper begins it when no other job runs")


@jobs.command
def cancel(job: str, *, at: At = HERE) -> None:
    """Cancel JOB, which runs or waits to run. The work that it has done stays."""
    with connect(at) as api:
        api.call("POST", "admin", "jobs", job, "cancel")
    say(f"requested the end of {job}")

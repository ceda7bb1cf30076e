"""Refusals, bounds and warnings that the town of the other tests cannot reach."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request

from dtrfast.api.v0 import jobs
from dtrfast.console import frame, live, routes, submission
from dtrfast.console.pages import dashboard
from dtrfast.errors import AccessRefused
from dtrfast.times import rfc3339
from tests.api.managed.town import Town
from tests.console.browser import Browser


def _request(host: str) -> Request:
    headers = [(b"host", host.encode())]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    return Request({**scope, "scheme": "http", "server": ("127.0.0.1", 5000)})


@pytest.mark.parametrize(
    ("bind", "external", "host", "is_taken"),
    [
        ("127.0.0.1:5000", "", "127.0.0.1:5000", True),
        ("127.0.0.1:5000", "", "localhost:5000", True),
        ("127.0.0.1:5000", "", "[::1]:5000", True),
        ("127.0.0.1:5000", "", "elsewhere.example:5000", False),
        ("127.0.0.1:5000", "https://registry.example", "registry.example", True),
        ("0.0.0.0:5000", "", "registry.example:5000", True),
    ],
)
def test_without_accounts_other_names_of_this_machine_are_refused(
    bind: str, external: str, host: str, is_taken: bool
) -> None:
    config: Any = SimpleNamespace(server=SimpleNamespace(bind=bind, external_url=external))
    if is_taken:
        routes._refuse_other_names(config, _request(host))
    else:
        with pytest.raises(AccessRefused, match=r"127\.0\.0\.1:5000"):
            routes._refuse_other_names(config, _request(host))


@pytest.mark.parametrize(
    "operation", ["create_account", "create_team", "put_oidc_settings", "put_access_settings"]
)
def test_without_accounts_nothing_is_made_that_counts_later(operation: str) -> None:
    auth = SimpleNamespace(mode="none")
    page: Any = SimpleNamespace(
        path={"operation": operation}, client=SimpleNamespace(config=SimpleNamespace(auth=auth))
    )
    with pytest.raises(AccessRefused, match="accounts are off"):
        submission._operation(page)
    auth.mode = "managed"
    assert submission._operation(page).id == operation


def test_nobody_takes_all_live_pages() -> None:
    streams = live.Streams(None, None)  # type: ignore[arg-type]
    progress, logs = live.STREAMS["/live/progress"], live.STREAMS["/live/logs"]
    for number in range(progress.count_max):
        actor = f"user{number % 8}"
        assert not streams._is_full(progress, actor)
        streams._counts[progress.name, actor] += 1
    assert streams._is_full(progress, "another")
    assert not streams._is_full(logs, "admin"), "others leave room for administrators"
    streams._counts[logs.name, "admin"] = 10
    assert streams._is_full(logs, "admin")
    assert not streams._is_full(logs, "another")


@pytest.mark.parametrize(
    ("days", "text"),
    [(60, ""), (19.2, "The certificate expires in 19 days."), (-1, "The certificate has expired.")],
)
def test_a_certificate_that_ends_is_told_before(days: float, text: str) -> None:
    shown = SimpleNamespace(not_after=rfc3339(int(time.time() + days * 86_400)))
    page: Any = SimpleNamespace(
        client=SimpleNamespace(is_secure=True), glance=lambda handler: shown
    )
    assert [notice.text for notice in frame._about_certificate(page)] == ([text] if text else [])


def _now(**fields: Any) -> Any:
    calm = {
        "time": 1e9,
        "disk_full_at": 0.0,
        "memory_bytes": 100,
        "memory_used_bytes": 50,
        "processes": [SimpleNamespace(name="worker-0"), SimpleNamespace(name="housekeeper")],
    }
    return SimpleNamespace(**{**calm, **fields})


def _problems(now: Any, *, columns: dict[str, Any], tasks: Any = (), runs: Any = ()) -> list[str]:
    def glance(handler: Any, **query: Any) -> Any:
        if handler is jobs.list_jobs:
            return SimpleNamespace(tasks=tasks, runs=runs)
        return None

    page: Any = SimpleNamespace(glance=glance)
    hour: Any = SimpleNamespace(columns=columns)
    return [text for text, _ in dashboard.problems(page, now, hour)]


def test_open_problems() -> None:
    assert _problems(_now(), columns={"cpu_percent": [99.0] * 10, "failed_rate": [None, 0.0]}) == []
    assert _problems(_now(), columns={"cpu_percent": [99.0] * 200}) == [
        "The host's CPU has been busy for 15 minutes"
    ]
    assert _problems(_now(), columns={"failed_rate": [0.2, None, 0.1]}) == [
        "3 requests failed in the last hour"
    ]
    only_worker = _now(processes=[SimpleNamespace(name="worker-0")], memory_used_bytes=99)
    assert _problems(only_worker, columns={}) == [
        "The host's memory is nearly used up",
        "The housekeeper is not running: no space is freed",
    ]
    (problem,) = _problems(_now(disk_full_at=1e9 + 86_400), columns={})
    assert problem.startswith("The disk will be full on 2001-09-10")


def test_what_works_again_is_no_problem() -> None:
    tasks = [
        SimpleNamespace(name="trash", error="no room"),
        SimpleNamespace(name="scrub", error=""),
    ]
    runs = [
        SimpleNamespace(job="check", state="done", result=""),
        SimpleNamespace(job="check", state="error", result="before"),
        SimpleNamespace(job="measure", state="worker_dead", result="it ended"),
    ]
    assert _problems(_now(), columns={}, tasks=tasks, runs=runs) == [
        "The task trash fails: no room",
        "The job measure failed: it ended",
    ]


def test_an_organization_is_measured_without_scripts(town: Town) -> None:
    owen = Browser(town, "owen")
    assert 'href="/organizations/acme/usage"' in owen.get("/organizations/acme").text
    whole = owen.get("/organizations/acme/usage").text
    assert "<h1>" in whole
    assert "Download size" in whole
    part = owen.get("/organizations/acme/usage", **{"hx-request": "true"}).text
    assert "<h1>" not in part
    assert "Download size" in part

"""Refusals, bounds and warnings that the town of the other tests cannot reach."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from markupsafe import Markup
from starlette.requests import Request

from dtrfast.api.v0.operation import ApiClient
from dtrfast.config import Config
from dtrfast.console import frame, live, routes, submission
from dtrfast.console.page import PageRequest
from dtrfast.errors import AccessRefused
from dtrfast.identity.callers import Caller
from dtrfast.store.report import StoreReport
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


def test_an_update_of_the_dashboard_reads_everything_once(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit = town.identity.guard.visit(Caller("system", "admin", method="local"))
    client = ApiClient(town.identity, visit, StoreReport(town.engine), Config(), "")
    tick = live._numbers(PageRequest(client, "/live/dashboard", "http://registry"))
    read: list[str] = []
    for name in ("ask", "glance"):
        method = getattr(PageRequest, name)

        def count(
            page: PageRequest, handler: Any, *given: Any, call: Any = method, **more: Any
        ) -> Any:
            read.append(f"{handler.__name__} {more.get('query')}")
            return call(page, handler, *given, **more)

        monkeypatch.setattr(PageRequest, name, count)
    messages = tick()
    assert "checks" in messages[0].data["html"]
    assert "get_last_sync None" in read
    assert sorted(read) == sorted(set(read))


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (60, ""),
        (19.2, "The certificate expires in 19 days."),
        (-1.5, "The certificate expired 1 day ago."),
    ],
)
def test_a_certificate_that_ends_is_told_before(days: float, text: str) -> None:
    shown = SimpleNamespace(not_after=rfc3339(int(time.time() + days * 86_400)))
    page: Any = SimpleNamespace(
        client=SimpleNamespace(is_secure=True), glance=lambda handler: shown
    )
    texts = [Markup(notice.text).striptags() for notice in frame._about_certificate(page)]
    assert texts == ([text] if text else [])


def test_an_organization_is_measured_without_scripts(town: Town) -> None:
    owen = Browser(town, "owen")
    assert 'href="/organizations/acme/usage"' in owen.get("/organizations/acme").text
    whole = owen.get("/organizations/acme/usage").text
    assert "<h1>" in whole
    assert "Download size" in whole
    part = owen.get("/organizations/acme/usage", **{"hx-request": "true"}).text
    assert "<h1>" not in part
    assert "Download size" in part

"""The CPU walk: the cost of every operation on a large registry (`city.py`).

The summary of the test run shows the table, worst first. Every request must succeed. A later change
bounds the costs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.managed.town import basic
from tests.walks import city as cities
from tests.walks import costs, distribution, heavy
from tests.walks.city import City
from tests.walks.costs import Cost
from tests.walks.distribution import PullOrPush
from tests.walks.requests import BY_ID, Request

_MEMORY = Path("/dev/shm")
_ADMIN = "admin"
_REFERENCE = "get_account"


def _send(city: City, method: str, url: str, **options: Any) -> httpx.Response:
    client = city.scene.town.client
    headers = {**basic(_ADMIN), **options.pop("headers", {})}
    answer = client.request(method, url, headers=headers, **options)
    client.forget_cookies()
    return answer


def _manage(city: City, request: Request) -> None:
    sent = city.scene.filled(request, _ADMIN)
    options = {} if sent.body is None else {"json": sent.body}
    answer = _send(city, sent.method, sent.url, **options)
    assert answer.status_code == BY_ID[request.operation].status, (request.name, answer.text)


def _pull_or_push(city: City, request: PullOrPush) -> None:
    url = request.url
    if request.begins:
        begun = _send(city, "POST", "/v2/acme/app/blobs/uploads/")
        url = url.replace("LOCATION", begun.headers["location"])
    options = {"headers": dict(request.headers), "content": request.content}
    answer = _send(city, request.method, url, **options)
    assert answer.status_code == request.status, (request.name, answer.text)


def _senders(city: City) -> dict[str, Callable[[], None]]:
    """Return a function for each request of the walk, by the request's name."""
    managing = {one.name: partial(_manage, city, one) for one in heavy.ALL}
    moving = {one.name: partial(_pull_or_push, city, one) for one in distribution.requests_of(city)}
    return {**managing, **moving}


def _walk(city: City) -> tuple[Cost, list[Cost]]:
    """Measure the reference and all other requests. The index forgets what each one changes."""
    senders = _senders(city)
    cheap = senders.pop(_REFERENCE)
    reference = costs.measure(_REFERENCE, cheap, costs.REFERENCE_TIMES)
    city.engine.forgets = True
    found = [costs.measure(name, send) for name, send in senders.items()]
    city.engine.forgets = False
    return reference, found


@pytest.mark.slow
@pytest.mark.alone
def test_every_operation_succeeds_on_a_large_registry(
    record_property: Callable[[str, object], None],
) -> None:
    assert {request.operation for request in heavy.ALL} == set(BY_ID)
    with (
        tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.exists() else None) as folder,
        cities.built(Path(folder)) as city,
    ):
        reference, found = _walk(city)
    record_property("summary", costs.table([reference, *found], reference))

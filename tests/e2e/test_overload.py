"""More load than the limits allow: the server answers 503 with Retry-After until it is over."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.registry import Registry, running

CONNECTIONS = 4


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Registry]:
    with running(tmp_path, settings={"DTRFAST_SERVER_CONNECTIONS_MAX": str(CONNECTIONS)}) as server:
        yield server


def ask(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    connection.request("GET", "/v2/")
    response = connection.getresponse()
    response.read()
    return response


@pytest.mark.slow
@pytest.mark.alone
def test_further_connections_are_turned_away_and_may_come_again(narrow: Registry) -> None:
    """There are two workers, so at most twice the limit are open."""
    held: list[http.client.HTTPConnection] = []
    refused = None
    for _ in range(4 * CONNECTIONS):
        connection = http.client.HTTPConnection("127.0.0.1", narrow.port, timeout=10)
        response = ask(connection)
        if response.status == 200:
            held.append(connection)
        else:
            refused = response
            connection.close()
    assert CONNECTIONS <= len(held) <= 2 * CONNECTIONS
    assert refused is not None
    assert refused.status == 503
    assert refused.headers["retry-after"] == "1"
    for connection in held:
        assert ask(connection).status == 200, "accepted connections go on"
        connection.close()
    time.sleep(0.5)
    with closing(http.client.HTTPConnection("127.0.0.1", narrow.port, timeout=10)) as again:
        assert ask(again).status == 200

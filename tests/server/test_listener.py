from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from dtrfast.config import ServerConfig
from dtrfast.errors import StartRefused
from dtrfast.server.listener import is_loopback, listen, url_of

_ANYWHERE = ServerConfig(bind="127.0.0.1:0")


@pytest.fixture
def listening() -> Iterator[list[socket.socket]]:
    sockets = listen(_ANYWHERE, 3)
    yield sockets
    for mine in sockets:
        mine.close()


def test_all_sockets_have_one_address(listening: list[socket.socket]) -> None:
    assert len({mine.getsockname() for mine in listening}) == 1
    assert is_loopback(listening)


@pytest.mark.parametrize("count", [1, 3])
def test_an_address_in_use_is_refused(listening: list[socket.socket], count: int) -> None:
    host, port = listening[0].getsockname()
    with pytest.raises(StartRefused, match=f"cannot listen on {host}:{port}: Address already in"):
        listen(ServerConfig(bind=f"{host}:{port}"), count)


def test_an_address_is_free_again_after_a_refusal(listening: list[socket.socket]) -> None:
    bind = "{}:{}".format(*listening[0].getsockname())
    with pytest.raises(StartRefused):
        listen(ServerConfig(bind=bind), 2)
    for mine in listening:
        mine.close()
    for mine in listen(ServerConfig(bind=bind), 2):
        mine.close()


def test_the_url_says_how_to_reach_it(listening: list[socket.socket]) -> None:
    port = listening[0].getsockname()[1]
    assert url_of(listening, _ANYWHERE) == f"http://127.0.0.1:{port}"
    secure = ServerConfig(tls_cert="cert.pem", tls_key="key.pem")
    assert url_of(listening, secure) == f"https://127.0.0.1:{port}"

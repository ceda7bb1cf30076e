"""Sockets that a service manager passes, and notices to it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dtrfast.config import Config
from dtrfast.errors import StartRefused
from dtrfast.server import service_manager
from dtrfast.server.listener import spread
from dtrfast.server.service_manager import Notices

# The first of the descriptors that tests pass to this process itself; nothing else has them.
_FIRST = 900

Pass = Callable[..., dict[str, str]]


@pytest.fixture
def pass_sockets() -> Iterator[Pass]:
    """A function that puts sockets at descriptors from `_FIRST` on, and returns the variables."""
    with ExitStack() as stack:

        def pass_all(*sockets: socket.socket) -> dict[str, str]:
            for number, one in enumerate(sockets):
                os.dup2(one.fileno(), _FIRST + number, inheritable=True)
                stack.enter_context(one)
            return {
                "LISTEN_PID": str(os.getpid()),
                "LISTEN_FDS": str(len(sockets)),
                "LISTEN_FDNAMES": "dtrfast.socket",
                "HOME": "/",
            }

        yield pass_all


def _listening(address: tuple[str, int] = ("127.0.0.1", 0)) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind(address)
    one.listen()
    return one


def test_passed_sockets_are_taken_and_the_variables_forgotten(pass_sockets: Pass) -> None:
    first = _listening()
    environment = pass_sockets(first, _listening(first.getsockname()))
    taken = service_manager.take_sockets(environment, _FIRST)
    assert environment == {"HOME": "/"}
    assert {one.getsockname() for one in taken} == {first.getsockname()}
    config = service_manager.bound_to(Config(), taken)
    assert config.server.bind == f"127.0.0.1:{first.getsockname()[1]}"
    assert config.origins["server.bind"] == "socket of the service manager"
    for one in taken:
        assert not one.getblocking()
        assert not one.get_inheritable()
        assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        one.close()


def test_the_address_of_an_ipv6_socket_is_a_setting(pass_sockets: Pass) -> None:
    try:
        environment = pass_sockets(socket.create_server(("::", 0), family=socket.AF_INET6))
    except OSError:
        pytest.skip("this machine has no IPv6")
    (one,) = service_manager.take_sockets(environment, _FIRST)
    with one:
        port = one.getsockname()[1]
        assert service_manager.bound_to(Config(), [one]).server.bind == f"[::]:{port}"


def test_variables_for_another_process_do_not_count(pass_sockets: Pass) -> None:
    given = pass_sockets(_listening())
    for changed in (
        {"LISTEN_PID": "1"},
        {"LISTEN_FDS": ""},
        {"LISTEN_FDS": "-1"},
        {"LISTEN_PID": ""},
    ):
        environment = given | changed
        assert service_manager.take_sockets(environment, _FIRST) == []
        assert environment == {"HOME": "/"}
    assert service_manager.bound_to(Config(), []) == Config()
    os.close(_FIRST)


def test_other_descriptors_are_refused_with_a_reason(pass_sockets: Pass, tmp_path: Path) -> None:
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "socket"))
    unix.listen()
    quiet = socket.socket()
    quiet.bind(("127.0.0.1", 0))
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for wrong in (unix, quiet, datagrams):
        with pytest.raises(StartRefused, match=rf"{_FIRST} .* is no listening TCP socket: use"):
            service_manager.take_sockets(pass_sockets(wrong), _FIRST)
    environment = pass_sockets(_listening())
    os.close(_FIRST)
    with pytest.raises(StartRefused, match=f"no socket as descriptor {_FIRST}: Bad file"):
        service_manager.take_sockets(environment, _FIRST)
    with pytest.raises(StartRefused, match=r"sockets of 127\.0\.0\.1:\d+ and 127\.0\.0\.1:\d+"):
        service_manager.take_sockets(pass_sockets(_listening(), _listening()), _FIRST)


def test_each_worker_and_each_socket_has_a_part() -> None:
    with ExitStack() as stack:
        one, two, three = (stack.enter_context(socket.socket()) for _ in range(3))
        assert spread([one, two], 2) == [(one,), (two,)]
        assert spread([one], 3) == [(one,), (one,), (one,)]
        assert spread([one, two, three], 2) == [(one, three), (two,)]
        assert spread([one, two], 3) == [(one,), (two,), (one,)]
        assert spread([], 2) == [(), ()]


@pytest.mark.parametrize("is_abstract", [False, True])
def test_notices_reach_the_service_manager(is_abstract: bool, tmp_path: Path) -> None:
    name = f"@dtrfast-test-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0"))
        manager.settimeout(10)
        environment = {"NOTIFY_SOCKET": name}
        Notices(environment).send("READY=1")
        assert environment == {}
        assert manager.recv(100) == b"READY=1"


def test_a_notice_that_fails_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Notices({"NOTIFY_SOCKET": str(tmp_path / "gone")}).send("READY=1")
        assert "could not send READY=1 to the service manager: [Errno 2]" in caplog.text
        caplog.clear()
        Notices({}).send("READY=1")
    assert caplog.text == ""

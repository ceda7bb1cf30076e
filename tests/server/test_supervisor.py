from __future__ import annotations

import resource
import signal
import socket
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from dtrfast.config import Config, ServerConfig, StoreConfig
from dtrfast.errors import DataDirectoryLocked
from dtrfast.machine import locks
from dtrfast.server import supervisor
from tests.server.conftest import (
    Server,
    StartServer,
    eventually,
    read_address,
    read_to_end,
    start_stub,
)

pytestmark = pytest.mark.slow


def answering(server: Server) -> set[int]:
    return {int(server.get("/pid")[1]) for _ in range(8)}


def begin_upload(server: Server, size: int = 10) -> socket.socket:
    """Return a connection that sent the head and the first byte of an upload."""
    connection = server.connect()
    connection.sendall(b"PUT /count HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\nx" % size)
    eventually(lambda: "began" in server.notes())
    return connection


def test_a_killed_worker_is_replaced_and_the_others_carry_on(start_server: StartServer) -> None:
    server = start_server()
    before = {worker.pid for worker in server.workers()}
    eventually(lambda: bool(answering(server) & before))
    victim, survivor = sorted(before)
    psutil.Process(victim).kill()
    assert server.get("/pid")[0] == 200
    eventually(lambda: len({worker.pid for worker in server.workers()} - {victim}) == 2)
    assert survivor in {worker.pid for worker in server.workers()}
    newcomer = {worker.pid for worker in server.workers()} - before
    eventually(lambda: answering(server) >= newcomer)


def test_what_waits_for_a_dead_worker_is_taken_by_its_successor(start_server: StartServer) -> None:
    server = start_server(workers=1)
    assert server.get("/pid")[0] == 200
    supervisor = psutil.Process(server.process.pid)
    supervisor.suspend()
    victim = server.workers()[0]
    victim.kill()
    eventually(lambda: victim.status() == psutil.STATUS_ZOMBIE)
    with server.connect() as connection:
        connection.sendall(b"GET /pid HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        supervisor.resume()
        assert read_to_end(connection).startswith(b"HTTP/1.1 200")


def test_connections_that_come_at_once_are_spread(start_server: StartServer) -> None:
    server = start_server()
    eventually(lambda: len(answering(server)) == 2)
    count = 64
    with ExitStack() as stack:
        connections = [stack.enter_context(socket.socket()) for _ in range(count)]
        for connection in connections:
            connection.setblocking(False)
            connection.connect_ex(server.address)
        for connection in connections:
            connection.settimeout(10)
            connection.sendall(b"GET /pid HTTP/1.1\r\nhost: x\r\n\r\n")
        answered_by = Counter(connection.recv(1000).split()[-1] for connection in connections)
    # Each connection goes to either worker by chance: fewer than this happen once in 10^9 runs.
    assert min(answered_by.values()) >= 9, answered_by
    assert len(answered_by) == 2


def test_a_killed_housekeeper_is_replaced(start_server: StartServer) -> None:
    server = start_server(workers=1)
    eventually(lambda: len(server.housekeepers()) == 1)
    victim = server.housekeepers()[0]
    victim.kill()
    eventually(lambda: [child.pid for child in server.housekeepers()] not in ([], [victim.pid]))


def test_workers_stop_when_the_supervisor_is_killed(start_server: StartServer) -> None:
    server = start_server()
    eventually(lambda: server.get("/pid")[0] == 200)
    family = [*server.workers(), *server.housekeepers()]
    server.process.kill()
    server.process.wait()
    psutil.wait_procs(family, timeout=20)
    assert not any(child.is_running() for child in family)


def test_workers_of_a_killed_supervisor_keep_the_lock(start_server: StartServer) -> None:
    server = start_server(workers=1)
    with begin_upload(server) as connection:
        family = [*server.workers(), *server.housekeepers()]
        server.process.kill()
        server.process.wait()
        with pytest.raises(DataDirectoryLocked, match=f"process {server.process.pid}"):
            locks.take_server(server.data)
        connection.sendall(b"x" * 9)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    psutil.wait_procs(family, timeout=20)
    locks.take_server(server.data)


def test_a_second_server_is_refused(start_server: StartServer) -> None:
    server = start_server(workers=1)
    second = start_stub(
        Config(ServerConfig(bind="127.0.0.1:0"), StoreConfig(data=server.data)),
    )
    _, errors = second.communicate(timeout=20)
    assert "is in use by another server" in errors
    assert str(server.process.pid) in errors


def test_a_graceful_stop_lets_a_transfer_finish(start_server: StartServer) -> None:
    server = start_server(workers=1)
    with begin_upload(server) as connection:
        server.process.terminate()
        eventually(lambda: is_refused(server))
        connection.sendall(b"x" * 9)
        assert read_to_end(connection).endswith(b"10")
    assert server.process.wait(20) == 0
    assert "cancelled" not in server.notes()


def is_refused(server: Server) -> bool:
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_transfer_that_outlasts_the_stop_is_cancelled(start_server: StartServer) -> None:
    server = start_server(workers=1, graceful_stop_seconds=0.2)
    with begin_upload(server):
        assert server.stop() == 0
    assert server.notes() == ["began", "cancelled", "over /count"]
    assert "Traceback" not in server.errors()


def test_a_client_that_reads_nothing_does_not_delay_a_stop(start_server: StartServer) -> None:
    server = start_server(workers=1, graceful_stop_seconds=0.2)
    with server.connect() as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        status = server.stop()
    assert server.errors() == ""
    assert status == 0


def test_idle_connections_do_not_delay_a_stop(start_server: StartServer) -> None:
    server = start_server(workers=1, graceful_stop_seconds=60)
    with server.connect() as connection:
        connection.sendall(b"GET /pid HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        assert server.stop() == 0


def test_a_second_signal_stops_at_once(start_server: StartServer) -> None:
    server = start_server(workers=1, graceful_stop_seconds=60)
    with begin_upload(server):
        server.process.send_signal(signal.SIGINT)
        eventually(lambda: is_refused(server))
        assert server.stop(signal.SIGINT) == 0
    assert server.notes() == ["began"]


def test_a_hang_up_is_ignored(start_server: StartServer) -> None:
    server = start_server(workers=1)
    server.process.send_signal(signal.SIGHUP)
    assert server.get("/pid")[0] == 200
    assert server.stop() == 0


def test_workers_that_cannot_start_end_the_server(tmp_path: Path) -> None:
    config = Config(ServerConfig(bind="127.0.0.1:0", workers=2), StoreConfig(data=tmp_path))
    process = start_stub(config, "refusing")
    read_address(process)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "the format is from the future" in errors
    assert "Traceback" not in errors


class EndedChild:
    """A child that has ended. The supervisor has already taken its signal for another child."""

    is_running = True

    def send(self, number: int) -> None:
        pass

    def reap(self) -> int:
        self.is_running = False
        return 0


def test_children_that_ended_together_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    children = [EndedChild(), EndedChild(), EndedChild()]
    stopping = supervisor.Supervisor(Config(), [], -1)
    monkeypatch.setattr(stopping, "_children", children)

    def wait(seconds: float | None) -> int | None:
        raise AssertionError("it waits for a signal that was taken")

    monkeypatch.setattr(supervisor, "_wait_signal", wait)
    stopping._stop()
    assert not any(child.is_running for child in children)


def test_children_may_open_as_many_files_as_the_system_allows(start_server: StartServer) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, limits[1]))
    try:
        server = start_server(workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    eventually(lambda: len(server.housekeepers()) == 1)
    for child in (*server.workers(), *server.housekeepers()):
        assert child.rlimit(psutil.RLIMIT_NOFILE) == (limits[1], limits[1])


def test_ipv6_is_served(start_server: StartServer) -> None:
    try:
        server = start_server(workers=1, bind="[::1]:0")
    except AssertionError:
        pytest.skip("this machine has no IPv6")
    assert server.get("/pid")[0] == 200

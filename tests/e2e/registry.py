"""The server under test: a `dtrfast serve` on a port of its own, with an empty data folder."""

import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.e2e.certificates import Certificate
from tests.e2e.programs import PROJECT, ProgramFailed, wait_until
from tests.scoped import Violation

WORKER_COUNT = 2
READY_PATH = "/readyz"


def command(data: Path, port: int, auth: str = "none") -> list[str]:
    """Return the command line that starts the server."""
    serve = [sys.executable, "-m", "dtrfast", "serve", "--data", str(data)]
    return [*serve, "--bind", f"127.0.0.1:{port}", "--workers", str(WORKER_COUNT), "--auth", auth]


class Registry:
    """A running registry, its processes, its log and its data."""

    def __init__(
        self,
        folder: Path,
        tls: Certificate | None = None,
        *,
        auth: str = "none",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Start in `folder`; returns once the server answers. `settings` are its variables."""
        self.tls = tls
        self.data = folder / "data"
        self.data.mkdir()
        self._log = folder / "registry.log"
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        self._command = [*command(self.data, self.port, auth), *_tls_options(tls)]
        self._environment = os.environ | {"PYTHONUNBUFFERED": "1", **(settings or {})}
        self.start_again()

    def kill(self) -> None:
        """Kill all of its processes at once."""
        _kill_group(self.process.pid)
        self.process.wait()

    def start_again(self) -> None:
        """Start again on the same data and port; returns once it answers requests."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=PROJECT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )
        try:
            wait_until(self._is_ready, self.process, f"answer from {self.url}{READY_PATH}")
        except ProgramFailed as failure:
            self.stop()
            raise ProgramFailed(f"registry {failure}\n{self.log()}") from None

    def stop(self) -> None:
        """Ask the supervisor to end, then kill the remaining processes of its session."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        _kill_group(self.process.pid)
        self.process.wait()
        name = f"{Violation.__module__}.{Violation.__qualname__}"
        broken = {line for line in self.log().splitlines() if name in line}
        assert not broken, f"rules of the seams were broken: {broken}"

    def log(self, offset: int = 0) -> str:
        """Return the server's output from that byte on."""
        with self._log.open("rb") as log:
            log.seek(offset)
            return log.read().decode(errors="replace")

    def log_size(self) -> int:
        """Return the size of the output so far, in bytes."""
        return self._log.stat().st_size

    def disk_usage(self) -> int:
        """Return the bytes that the data folder occupies, as `du` counts them."""
        total = 0
        for folder, _, files in os.walk(self.data):
            for name in files:
                try:
                    total += os.lstat(os.path.join(folder, name)).st_blocks * 512
                except FileNotFoundError:
                    continue  # a file of an upload, committed after the walk saw it
        return total

    def workers(self) -> list[psutil.Process]:
        """Return the processes that accept connections, without the supervisor."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if self._listens(child)]

    def cpu_seconds(self) -> float:
        """Return the CPU-seconds of all workers since their start.

        They are exact to the nanosecond; /proc counts steps of 10 ms.
        """
        # The clock of another process, see clock_getcpuclockid(3).
        return sum(time.clock_gettime(~worker.pid << 3 | 2) for worker in self.workers())

    def _listens(self, process: psutil.Process) -> bool:
        try:
            connections = process.net_connections("tcp4")
        except psutil.NoSuchProcess:
            return False
        return any(
            c.status == psutil.CONN_LISTEN and c.laddr.port == self.port for c in connections
        )

    def _is_ready(self) -> bool:
        connection = _connection(self.port, self.tls)
        try:
            connection.request("GET", READY_PATH)
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


@contextmanager
def running(folder: Path, *, settings: Mapping[str, str] | None = None) -> Iterator[Registry]:
    """Run a registry until the block ends."""
    registry = Registry(folder, settings=settings)
    try:
        yield registry
    finally:
        registry.stop()


def _tls_options(tls: Certificate | None) -> list[str]:
    return ["--tls-cert", str(tls.chain), "--tls-key", str(tls.key)] if tls else []


def _connection(port: int, tls: Certificate | None) -> http.client.HTTPConnection:
    if tls is None:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    context = ssl.create_default_context(cafile=str(tls.authority))
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return  # all of them have ended

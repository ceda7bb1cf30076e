"""Pushes to a slow disk: the time of the last answer of a big push, and of concurrent small pushes.

    sudo .venv/bin/python -m benchmarks.slow_disk [--rate 25] [--size 600] [--pushes 1]

makes an ext4 file system in a file, on a loop device. The blkio controller (cgroup version 1)
limits its writes to `rate` MB/s. A server on it gets big blobs, and at the same time small ones,
one after another. The program needs root. It removes everything that it made.

Exit status: 0 if all targets are reached, else 1; 2 if no slow disk can be made.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.peers.dtrfast import Dtrfast
from benchmarks.peers.peer import Server, Start

_THROTTLE = Path("/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device")
_MIB = 1 << 20
# The targets for a disk of 25 MB/s.
_ANSWER_SECONDS_MAX = 5.0
_SMALL_SECONDS_MAX = 2.0
_TIMEOUT_SECONDS = 300.0
_PAUSE_SECONDS = 0.2
_WIDTH = 120
_NO_DISK_STATUS = 2


class SlowDiskUnavailable(Exception):
    """No slow disk can be made on this machine. The message says what is missing."""


@dataclass(slots=True)
class Figures:
    """The times of the clients of one run, in seconds."""

    sent: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)  # after the last byte
    small: dict[str, list[float]] = field(default_factory=dict)

    @property
    def is_reached(self) -> bool:
        """True if the times reach the targets."""
        small = max(max(seconds) for seconds in self.small.values())
        return max(self.answers) < _ANSWER_SECONDS_MAX and small < _SMALL_SECONDS_MAX


# ---- the disk -----------------------------------------------------------------------------------
@contextmanager
def slow_disk(folder: Path, size: int, rate: int) -> Iterator[Path]:
    """Yield a file system of `size` bytes that writes `rate` bytes a second. `folder` is empty."""
    if not os.access(_THROTTLE, os.W_OK):
        raise SlowDiskUnavailable(f"{_THROTTLE} is missing or not writable: run as root")
    image, mount = folder / "image", folder / "mount"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(size)
    with ExitStack() as stack:
        _run("mkfs.ext4", "-q", "-F", image)
        device = _run("losetup", "--find", "--show", image)
        stack.callback(_run, "losetup", "--detach", device)
        _run("mount", device, mount)
        stack.callback(_run, "umount", mount)
        number = os.stat(device).st_rdev
        bound = f"{os.major(number)}:{os.minor(number)}"
        stack.callback(_THROTTLE.write_text, f"{bound} 0")
        _THROTTLE.write_text(f"{bound} {rate}")
        yield mount


def _run(*command: str | Path) -> str:
    try:
        done = subprocess.run(list(map(str, command)), check=True, capture_output=True)
    except FileNotFoundError as error:
        raise SlowDiskUnavailable(f"{command[0]} is not installed") from error
    except subprocess.CalledProcessError as error:
        raise SlowDiskUnavailable(f"{command[0]}: {error.stderr.decode().strip()}") from error
    return done.stdout.decode().strip()


# ---- the pushes ---------------------------------------------------------------------------------
def _pieces(size: int, magic: bytes) -> Iterator[bytes]:
    """Yield incompressible bytes without equal chunks."""
    yield magic
    for _ in range(size // _MIB):
        yield os.urandom(_MIB)


def _request(server: Server, method: str, path: str, body: bytes = b"") -> str:
    """Make a request and return the Location of the answer."""
    connection = http.client.HTTPConnection(*server.address, timeout=_TIMEOUT_SECONDS)
    connection.request(method, path, body=body)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status in (201, 202), f"{method} {path}: {answer.status}"
    return answer.getheader("location", "")


def _push_big(server: Server, body: list[bytes], figures: Figures) -> None:
    """Push a layer as containerd does: a POST, and a PUT with all bytes."""
    digest = hashlib.sha256(b"".join(body)).hexdigest()
    place = _request(server, "POST", "/v2/big/blobs/uploads/")
    connection = http.client.HTTPConnection(*server.address, timeout=_TIMEOUT_SECONDS)
    connection.putrequest("PUT", f"{place}?digest=sha256:{digest}")
    connection.putheader("Content-Length", str(sum(map(len, body))))
    connection.endheaders()
    began = time.monotonic()
    for piece in body:
        connection.send(piece)
    sent = time.monotonic()
    status = connection.getresponse().status
    assert status == 201, f"the closing PUT: {status}"
    figures.answers.append(time.monotonic() - sent)
    figures.sent.append(sent - began)
    connection.close()


def _push_small(server: Server, size: int) -> None:
    body = (b"\x1f\x8b" + os.urandom(size))[:size]
    place = _request(server, "POST", "/v2/small/blobs/uploads/")
    digest = hashlib.sha256(body).hexdigest()
    _request(server, "PUT", f"{place}?digest=sha256:{digest}", body)


def _time_small(server: Server, size: int, into: list[float], stop: threading.Event) -> None:
    while not into or not stop.wait(_PAUSE_SECONDS):
        began = time.monotonic()
        _push_small(server, size)
        into.append(time.monotonic() - began)


def measure(server: Server, magics: list[bytes], size: int) -> Figures:
    """Push several blobs of `size` bytes at the same time, one with each of these first bytes."""
    figures = Figures()
    stop = threading.Event()
    bodies = [list(_pieces(size, magic)) for magic in magics]
    small = []
    for name, small_size in (("9 bytes", 9), ("10 kB", 10_000)):
        into = figures.small[name] = []
        arguments = (server, small_size, into, stop)
        small.append(threading.Thread(target=_time_small, args=arguments))
    big = [threading.Thread(target=_push_big, args=(server, b, figures)) for b in bodies]
    for thread in [*big, *small]:
        thread.start()
    for thread in big:
        thread.join()
    stop.set()
    for thread in small:
        thread.join()
    assert len(figures.answers) == len(magics), "a push failed"
    return figures


_KINDS = {"gzip": b"\x1f\x8b\x08\x00", "chunked": b"nothing "}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rate", type=int, default=25, help="MB/s")
    parser.add_argument("--size", type=int, default=600, help="MiB of each big push")
    parser.add_argument("--pushes", type=int, default=1, help="big pushes at once")
    options = parser.parse_args()
    table = Table("big pushes", "sent in s", "answer after s", "small push", "p50 s", "longest s")
    reached = True
    with tempfile.TemporaryDirectory(prefix="dtrfast-slow-disk-", dir="/var/tmp") as folder:
        disk_size = (options.size * options.pushes * len(_KINDS) * 2 + 4096) * _MIB
        try:
            with slow_disk(Path(folder), disk_size, options.rate * _MIB) as mount:
                server = Dtrfast().start(Start(mount))
                try:
                    server.wait_ready()
                    for kind, magic in _KINDS.items():
                        magics = [magic] * options.pushes
                        figures = measure(server, magics, options.size * _MIB)
                        reached = reached and figures.is_reached
                        _show(table, f"{options.pushes} {kind}", figures)
                finally:
                    server.stop()
        except SlowDiskUnavailable as error:
            sys.stderr.write(f"{error}\n")
            return _NO_DISK_STATUS
    Console(width=_WIDTH).print(table)
    return int(not reached)


def _show(table: Table, name: str, figures: Figures) -> None:
    for small, seconds in figures.small.items():
        table.add_row(
            name,
            f"{max(figures.sent):.1f}",
            f"{max(figures.answers):.1f}",
            small,
            f"{statistics.median(seconds):.2f}",
            f"{max(seconds):.2f}",
        )
        name = ""


if __name__ == "__main__":
    sys.exit(main())

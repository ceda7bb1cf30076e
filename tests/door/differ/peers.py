"""Servers that must answer alike, and one client for each."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.door.differ.asking import Ask, Hostile, Mutation
from tests.door.differ.comparing import Sight, begun_upload, see
from tests.door.wire import Answer, Wire, request
from tests.e2e.programs import PROJECT, ProgramFailed, wait_until


class Peer:
    """A client of one server, which remembers the uploads that the server began for it."""

    def __init__(self, name: str, address: tuple[str, int]) -> None:
        self.name = name
        self._address = address
        self._wire: Wire | None = None
        self._space = ""
        self._uploads: list[str] = []

    def begin(self, space: str) -> None:
        """Forget the last example: the next one has this space."""
        self.close()
        self._space = space
        self._uploads.clear()

    def close(self) -> None:
        if self._wire is not None:
            self._wire.__exit__()
            self._wire = None

    def ask(self, asks: Sequence[Ask]) -> list[Sight]:
        """Send all in one piece; the answers up to one that closes the connection."""
        self._send(b"".join(self._write(asks)))
        sights: list[Sight] = []
        while len(sights) < len(asks) and self._wire is not None:
            sights.append(self._read(asks[len(sights)].method))
        return sights

    def ask_one_by_one(self, asks: Sequence[Ask]) -> list[Sight]:
        """All answers; the requests are those that `ask` would send."""
        sights = []
        for ask, data in zip(asks, self._write(asks), strict=True):
            self._send(data)
            sights.append(self._read(ask.method))
        return sights

    def ask_raw(self, sent: Mutation | Hostile) -> list[Sight]:
        """Send bytes that mean something or nothing, end, and read all that comes."""
        with Wire(self._address) as wire:
            wire.send(sent.write(self._space, self._uploads))
            wire.send_end()
            return [self._see(answer) for answer in wire.read_answers(sent.methods)]

    def _write(self, asks: Sequence[Ask]) -> list[bytes]:
        return [ask.write(self._space, self._uploads) for ask in asks]

    def _send(self, data: bytes) -> None:
        if self._wire is None:
            self._wire = Wire(self._address)
        self._wire.send(data)

    def _read(self, method: str) -> Sight:
        assert self._wire is not None
        answer = self._wire.read_answer(method)
        if answer.closes:
            self._wire.read_end()
            self.close()
        return self._see(answer)

    def _see(self, answer: Answer) -> Sight:
        begun = begun_upload(answer)
        if begun is not None and begun not in self._uploads:
            self._uploads.append(begun)
        return see(answer, self._uploads)


@contextmanager
def serving_plainly(folder: Path) -> Iterator[tuple[str, int]]:
    """The application alone, under Hypercorn as it comes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address: tuple[str, int] = probe.getsockname()
    environment = {"DTRFAST_STORE_DATA": str(folder / "data"), "DTRFAST_LOG_ACCESS": "false"}
    bind = f"{address[0]}:{address[1]}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "hypercorn", "--bind", bind, "dtrfast.app:app"],
            cwd=PROJECT,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        wait_until(lambda: _is_ready(address), process, f"answer from {bind}")
        yield address
    except ProgramFailed as failure:
        raise ProgramFailed(f"{failure}\n{(folder / 'log').read_text()}") from None
    finally:
        process.terminate()
        process.wait(30)


def _is_ready(address: tuple[str, int]) -> bool:
    try:
        with Wire(address) as wire:
            wire.send(request("GET", "/readyz"))
            return wire.read_answer().status == 200
    except OSError:
        return False

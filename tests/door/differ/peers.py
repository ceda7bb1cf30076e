"""Servers that must give the same answers, and one client for each."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.door.differ.asking import Hostile, Mutation, RequestTemplate
from tests.door.differ.comparing import ComparableAnswer, begun_upload, see
from tests.door.wire import Answer, Wire, request
from tests.e2e.programs import PROJECT, ProgramFailed, wait_until


class Peer:
    """A client of one server. It remembers the uploads that the server began for it."""

    def __init__(self, name: str, address: tuple[str, int]) -> None:
        self.name = name
        self._address = address
        self._wire: Wire | None = None
        self._space = ""
        self._uploads: list[str] = []

    def begin(self, space: str) -> None:
        """Forget the last example, and use this space for the next one."""
        self.close()
        self._space = space
        self._uploads.clear()

    def close(self) -> None:
        if self._wire is not None:
            self._wire.__exit__()
            self._wire = None

    def ask(self, asks: Sequence[RequestTemplate]) -> list[ComparableAnswer]:
        """Send all requests in one piece; returns the answers until one closes the connection."""
        self._send(b"".join(self._write(asks)))
        sights: list[ComparableAnswer] = []
        while len(sights) < len(asks) and self._wire is not None:
            sights.append(self._read(asks[len(sights)].method))
        return sights

    def ask_one_by_one(self, asks: Sequence[RequestTemplate]) -> list[ComparableAnswer]:
        """Send the requests of `ask` one by one; returns all answers."""
        sights = []
        for ask, data in zip(asks, self._write(asks), strict=True):
            self._send(data)
            sights.append(self._read(ask.method))
        return sights

    def ask_raw(self, sent: Mutation | Hostile) -> list[ComparableAnswer]:
        """Send bytes that may be malformed, end the client's side, and return all answers."""
        with Wire(self._address) as wire:
            wire.send(sent.write(self._space, self._uploads))
            wire.send_end()
            return [self._see(answer) for answer in wire.read_answers(sent.methods)]

    def _write(self, asks: Sequence[RequestTemplate]) -> list[bytes]:
        return [ask.write(self._space, self._uploads) for ask in asks]

    def _send(self, data: bytes) -> None:
        if self._wire is None:
            self._wire = Wire(self._address)
        self._wire.send(data)

    def _read(self, method: str) -> ComparableAnswer:
        assert self._wire is not None
        answer = self._wire.read_answer(method)
        if answer.closes:
            self._wire.read_end()
            self.close()
        return self._see(answer)

    def _see(self, answer: Answer) -> ComparableAnswer:
        begun = begun_upload(answer)
        if begun is not None and begun not in self._uploads:
            self._uploads.append(begun)
        return see(answer, self._uploads)


@contextmanager
def serving_plainly(folder: Path) -> Iterator[tuple[str, int]]:
    """Run the application without the front door, under plain Hypercorn."""
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

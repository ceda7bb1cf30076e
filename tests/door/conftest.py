"""Servers with equal content: with lanes, without lanes, and over TLS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pytest

from tests.door.corpus.case import MANIFEST, SMUGGLED, TAG, VICTIM
from tests.door.tls import context
from tests.door.wire import TIMEOUT_SECONDS, Answer, Wire, request
from tests.e2e import certificates
from tests.e2e import registry as registries


class Mode(StrEnum):
    """The way in which a server under test runs."""

    LANES = "lanes on"
    NO_LANES = "lanes off"
    TLS = "lanes on, TLS"


@dataclass(frozen=True, slots=True)
class DoorServer:
    """A running server, with the operations that all tests use."""

    address: tuple[str, int]
    process: registries.Registry
    tls: ssl.SSLContext | None = None

    def connect(self, timeout_seconds: float = TIMEOUT_SECONDS) -> Wire:
        return Wire(self.address, timeout_seconds, self.tls)

    def ask(self, sent: bytes, method: str = "GET") -> Answer:
        """Return the answer to one request on a connection of its own."""
        with self.connect() as wire:
            wire.send(sent)
            return wire.read_answer(method)

    def put_victim(self) -> None:
        answer = self.ask(request("PUT", f"/v2/{VICTIM}/manifests/{TAG}", body=MANIFEST), "PUT")
        assert answer.status == 201

    def begin_upload(self) -> str:
        """Begin an upload; returns its path."""
        answer = self.ask(request("POST", f"/v2/{SMUGGLED}/blobs/uploads/"), "POST")
        assert answer.status == 202
        location = answer.get("location")
        assert location is not None
        return location


@contextmanager
def serving(
    folder: Path, *, lanes: bool, workers: int = 1, tls: bool = False, **settings: str
) -> Iterator[DoorServer]:
    """Run `dtrfast serve` with these settings, named like their environment variables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DTRFAST_SERVER_LANES", str(lanes).lower())
        patch.setenv("DTRFAST_LOG_ACCESS", "false")
        for name, value in settings.items():
            patch.setenv(f"DTRFAST_{name}", value)
        patch.setattr(registries, "WORKER_COUNT", workers)
        certificate = certificates.make(folder) if tls else None
        server = registries.Registry(folder, certificate)
    trusting = context(certificate.authority) if certificate else None
    try:
        yield DoorServer(("127.0.0.1", server.port), server, trusting)
    finally:
        server.stop()


@pytest.fixture(scope="module", params=[*Mode], ids=[*Mode])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DoorServer]:
    """A server with one worker: an answer on one connection shows the progress of another one."""
    lanes, tls = request.param is not Mode.NO_LANES, request.param is Mode.TLS
    with serving(tmp_path_factory.mktemp("door"), lanes=lanes, tls=tls) as running:
        running.put_victim()
        yield running

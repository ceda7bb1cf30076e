"""Answers that are sent before the body has arrived reach the client whole, without a reset.

Afterwards the connection closes or is in sync: the server takes no octet of the body for a request.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.door.conftest import DoorServer
from tests.door.corpus.case import LAST_PROBE, MANIFEST, POISON, PROBE, SMUGGLED, TAG, VICTIM
from tests.door.wire import Answer, Wire, chunked, request

pytestmark = pytest.mark.slow

# More than the buffers of both kernels, and more than a manifest may have.
_LARGE = 24 << 20
_UNKNOWN = "00000000-0000-4000-8000-000000000000"
_PUT = f"/v2/{SMUGGLED}/manifests/x"

EARLY = {
    "no page": ("PUT", "/nowhere", 404),
    "no such method": ("POST", f"/v2/{VICTIM}/manifests/{TAG}", 405),
    "no such method at the base": ("PUT", "/v2/", 405),
    "no upload": ("PATCH", f"/v2/{SMUGGLED}/blobs/uploads/{_UNKNOWN}", 404),
    "no upload to close": ("PUT", f"/v2/a/blobs/uploads/{_UNKNOWN}?digest=sha256:{'0' * 64}", 404),
    "no name": ("PATCH", f"/v2/UPPER/blobs/uploads/{_UNKNOWN}", 400),
    "no digest": ("POST", f"/v2/{SMUGGLED}/blobs/uploads/?digest=x", 400),
    "manifest too large": ("PUT", _PUT, 413),
    "pull": ("GET", f"/v2/{VICTIM}/manifests/{TAG}", 200),
}


def expect_whole(answer: Answer, status: int) -> None:
    assert answer.status == status, answer
    assert status == 200 or json.loads(answer.body)["errors"]


def expect_closed_or_in_step(wire: Wire, answer: Answer) -> None:
    if not answer.closes:
        wire.send(LAST_PROBE)
        assert wire.read_answer().body == MANIFEST
    wire.read_end()


def body_of_poison(size: int) -> bytes:
    """Return a body of requests, so that a reader that starts in its middle finds one."""
    return (POISON * (size // len(POISON) + 1))[:size]


def ask_all(server: DoorServer, *headers: str) -> Iterator[tuple[Answer, Wire]]:
    """Announce a body to each of EARLY at the same time, because a server may delay its answer."""
    with ExitStack() as stack:
        wires = {name: stack.enter_context(server.connect()) for name in EARLY}
        for name, (method, target, _) in EARLY.items():
            wires[name].send(request(method, target, f"Content-Length: {_LARGE}", *headers))
        for name, (method, _, status) in EARLY.items():
            answer = wires[name].read_answer(method)
            expect_whole(answer, status)
            yield answer, wires[name]


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("name", EARLY)
def test_a_client_that_sends_first_and_reads_later(
    server: DoorServer, name: str, framing: str
) -> None:
    method, target, status = EARLY[name]
    body = body_of_poison(_LARGE)
    if framing == "length":
        sent = request(method, target, f"Content-Length: {_LARGE}", body=body)
    else:
        sent = request(method, target, "Transfer-Encoding: chunked", body=chunked(body))
    with server.connect() as wire:
        wire.send(sent)
        answer = wire.read_answer(method)
        expect_whole(answer, status)
        expect_closed_or_in_step(wire, answer)
    assert server.ask(PROBE).status == 200


def test_clients_that_wait_for_their_answer(server: DoorServer) -> None:
    """They never send their body. Their next bytes may be the body, but are no request."""
    for answer, wire in ask_all(server):
        assert answer.closes
        wire.send(POISON)
        wire.read_end()
    assert server.ask(PROBE).status == 200


def test_refused_expectations_are_not_met(server: DoorServer) -> None:
    for answer, wire in ask_all(server, "Expect: 100-continue"):
        assert answer.interim == ()
        assert answer.closes
        wire.read_end()


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("target", ["manifest", "append", "close"])
def test_an_accepted_expectation_is_met_once(server: DoorServer, target: str, framing: str) -> None:
    digest = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"
    upload = server.begin_upload()
    method, path, status = {
        "manifest": ("PUT", f"/v2/{VICTIM}/manifests/{TAG}", 201),
        "append": ("PATCH", upload, 202),
        "close": ("PUT", f"{upload}?digest={digest}", 201),
    }[target]
    body, field = {
        "length": (MANIFEST, f"Content-Length: {len(MANIFEST)}"),
        "chunked": (chunked(MANIFEST[:5], MANIFEST[5:]), "Transfer-Encoding: chunked"),
    }[framing]
    with server.connect() as wire:
        wire.send(request(method, path, field, "Expect: 100-continue"))
        assert wire.read_interim() == 100
        wire.send(body + PROBE)
        answer = wire.read_answer(method)
        assert (answer.status, answer.interim) == (status, ())
        assert wire.read_answer().status == 200


def test_a_body_that_does_not_wait_for_100_is_taken(server: DoorServer) -> None:
    upload = server.begin_upload()
    with server.connect() as wire:
        wire.send(request("PATCH", upload, "Expect: 100-continue", body=MANIFEST) + PROBE)
        assert wire.read_answer("PATCH").status == 202
        assert wire.read_answer().status == 200
    assert server.ask(request("GET", upload)).get("range") == f"0-{len(MANIFEST) - 1}"

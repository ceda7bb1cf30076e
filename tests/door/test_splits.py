"""Packet boundaries mean nothing: requests are cut at every octet, and sent octet by octet."""

from __future__ import annotations

import hashlib

import pytest

from tests.door.conftest import DoorServer
from tests.door.corpus.case import LAST_PROBE, MANIFEST, POISON, PROBE, TAG, VICTIM
from tests.door.wire import Answer, Wire, chunked, request

pytestmark = pytest.mark.slow

_PUT = f"/v2/{VICTIM}/manifests/{TAG}"
_CHUNKED = "Transfer-Encoding: chunked"
PIECES = (b"some", b" bytes\r\n\r\n", b"0\r\n\r\n")

REQUESTS = {
    "two pulls": (PROBE, 200),
    "manifest with length": (request("PUT", _PUT, body=MANIFEST), 201),
    "manifest, chunked": (request("PUT", _PUT, _CHUNKED, body=chunked(MANIFEST)), 201),
    "pull with a body": (request("GET", _PUT, "Content-Length: 9", body=POISON[:9]), 200),
}
APPENDS = {
    "length": request("PATCH", "/UPLOAD", body=b"".join(PIECES)),
    "chunked": request("PATCH", "/UPLOAD", _CHUNKED, body=chunked(*PIECES, trailer=b"a: b\r\n")),
}
MALFORMED = {
    "head": PROBE.replace(b"\r\n\r\n", b"\r\n x: folded\r\n\r\n"),
    "length": request("PUT", _PUT, "Content-Length: +1", body=b"x"),
    "chunk": request("PUT", _PUT, _CHUNKED, body=b"1;x\r\nx\r\n0\r\n\r\n"),
    "end of data": request("PUT", _PUT, _CHUNKED, body=b"1\r\nxx\n0\r\n\r\n"),
}


def send_pieces(server: DoorServer, wire: Wire, data: bytes, cuts: list[int]) -> None:
    """Send each piece alone.

    The only worker has read it once it answers a request on another connection.
    """
    with server.connect() as other:
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            wire.send(data[start:end])
            other.send(PROBE)
            other.read_answer()


def every_cut(data: bytes) -> list[list[int]]:
    """Return one cut at each place, and all cuts together."""
    return [[place] for place in range(1, len(data))] + [[*range(1, len(data))]]


def expect(answer: Answer, status: int) -> None:
    assert answer.status == status, answer


@pytest.mark.parametrize("name", REQUESTS)
def test_answers_do_not_depend_on_packets(server: DoorServer, name: str) -> None:
    sent, status = REQUESTS[name]
    for cuts in every_cut(sent + PROBE):
        with server.connect() as wire:
            send_pieces(server, wire, sent + PROBE, cuts)
            expect(wire.read_answer(), status)
            expect(wire.read_answer(), 200)
            wire.send(LAST_PROBE)
            expect(wire.read_answer(), 200)
            wire.read_end()


@pytest.mark.parametrize("name", APPENDS)
def test_uploaded_bytes_do_not_depend_on_packets(server: DoorServer, name: str) -> None:
    upload = server.begin_upload()
    sent = APPENDS[name].replace(b"/UPLOAD", upload.encode())
    cuts_of_all = every_cut(sent)
    with server.connect() as wire:
        for cuts in cuts_of_all:
            send_pieces(server, wire, sent + PROBE, cuts)
            expect(wire.read_answer("PATCH"), 202)
            expect(wire.read_answer(), 200)
    content = b"".join(PIECES) * len(cuts_of_all)
    status = server.ask(request("GET", upload))
    assert status.get("range") == f"0-{len(content) - 1}"
    digest = hashlib.sha256(content).hexdigest()
    expect(server.ask(request("PUT", f"{upload}?digest=sha256:{digest}"), "PUT"), 201)


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_refused_does_not_depend_on_packets(server: DoorServer, name: str) -> None:
    """The server may close before everything has been sent. Its answer is the same."""
    sent = MALFORMED[name]
    for cuts in every_cut(sent):
        with server.connect() as wire:
            send_pieces(server, wire, sent + POISON, cuts)
            expect(wire.read_answer(), 400)
            wire.read_end()
    expect(server.ask(PROBE), 200)

"""The corpus against a server: each case gets its answers, and has no other effect."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice

import pytest

from tests.door.conftest import DoorServer
from tests.door.corpus import bodies, cut, framing, lines, valid
from tests.door.corpus.case import (
    LAST_PROBE,
    MANIFEST,
    POISON,
    PROBE,
    SMUGGLED,
    UPLOAD,
    Case,
    answered,
    refused,
)
from tests.door.wire import TIMEOUT_SECONDS, Answer, Wire, request
from tests.ext import test_chunked, test_head

pytestmark = pytest.mark.slow

# The number of cases between two checks of the content. A check costs as much as two cases.
_BATCH = 50

CHUNKED = b" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
# The server must refuse every head that the tests of the kernel expect it to refuse.
KERNEL_HEADS = [refused(name, data + POISON) for name, data in test_head.MALFORMED.items()]


def check_all(server: DoorServer, cases: Iterable[Case]) -> None:
    """Check every case, and the server's content after each batch."""
    complaints: dict[str, BaseException] = {}
    for some in batched(cases, _BATCH):
        for case in some:
            try:
                check(server, case)
            except (AssertionError, OSError) as error:
                complaints[case.name] = error
        try:
            expect_untouched(server)
        except (AssertionError, OSError) as error:
            complaints[f"one of {[case.name for case in some]}"] = error
            server.put_victim()
    assert complaints == {}


def batched(cases: Iterable[Case], size: int) -> Iterator[list[Case]]:
    """Yield the cases in lists of `size`. The last one may be shorter."""
    rest = iter(cases)
    while some := list(islice(rest, size)):
        yield some


def check(server: DoorServer, case: Case, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """Send the case, and check its answers and the state of the connection afterwards."""
    sent, upload = case.sent, ""
    if UPLOAD in sent:
        upload = server.begin_upload()
        sent = sent.replace(UPLOAD, upload.encode())
    with server.connect(timeout_seconds) as wire:
        wire.send(sent)
        if case.ends:
            wire.send_end()
        answer = None
        for number, status in enumerate(case.answers):
            answer = wire.read_answer(case.methods[number] if number < len(case.methods) else "GET")
            assert answer.status == status, answer
        expect_next(wire, case, answer)


def expect_next(wire: Wire, case: Case, last: Answer | None) -> None:
    """Check that the connection closes or is in sync, as the last answer says."""
    closes = last is None or last.closes or (case.closes is None and not keeps_old(last))
    assert case.closes in (None, closes), last
    if closes:
        wire.read_end(unanswered=last is None)
        return
    wire.send(LAST_PROBE)
    answer = wire.read_answer()
    assert (answer.status, answer.body) == (200, MANIFEST)
    wire.read_end()


def keeps_old(answer: Answer) -> bool:
    """Return True if a connection of HTTP/1.0 stays open: both sides must say so."""
    return answer.get("connection") == "keep-alive"


def expect_untouched(server: DoorServer) -> None:
    """Check that nothing was stored or removed."""
    with server.connect() as wire:
        wire.send(PROBE + request("GET", f"/v2/{SMUGGLED}/tags/list"))
        victim, smuggled = wire.read_answer(), wire.read_answer()
    assert (victim.status, victim.body) == (200, MANIFEST)
    assert smuggled.status == 404


FRAMING = [case for carrier in framing.CARRIERS for case in framing.cases(carrier)]
BODIES = [case for carrier in framing.CARRIERS for case in bodies.cases(carrier)]
KERNEL_BODIES = [
    refused(f"{carrier}: {name}", framing.CARRIERS[carrier] + CHUNKED + data)
    for carrier in ("append", "manifest")
    for name, data in test_chunked.MALFORMED.items()
]


def test_doubtful_lengths_are_refused(server: DoorServer) -> None:
    check_all(server, FRAMING)


def test_malformed_bodies_are_refused(server: DoorServer) -> None:
    check_all(server, BODIES + KERNEL_BODIES)


def test_malformed_heads_are_refused(server: DoorServer) -> None:
    check_all(server, [*lines.cases(), *KERNEL_HEADS])


def test_odd_requests_are_answered(server: DoorServer) -> None:
    check_all(server, valid.cases())


def test_requests_that_end_too_early_come_to_nothing(server: DoorServer) -> None:
    check_all(server, cut.cases())


@pytest.mark.parametrize("sent", [b"\0" + PROBE, lines.TOO_LARGE["129 fields"]], ids=["400", "431"])
def test_a_refusal_is_told_in_the_words_of_the_protocol(server: DoorServer, sent: bytes) -> None:
    answer = server.ask(sent)
    assert answer.closes
    assert answer.get("content-type") == "application/json"
    assert answer.get("docker-distribution-api-version") == "registry/2.0"
    assert [error["code"] for error in json.loads(answer.body)["errors"]] == ["UNSUPPORTED"]


def test_a_malformed_body_leaves_what_came_before_in_the_upload(server: DoorServer) -> None:
    upload = server.begin_upload()
    head = f"PATCH {upload} HTTP/1.1".encode() + CHUNKED
    answer = server.ask(head + b"3\r\nabc\r\n3;x\r\ndef\r\n0\r\n\r\n", "PATCH")
    assert (answer.status, answer.closes) == (400, True)
    status = server.ask(request("GET", upload))
    assert (status.status, status.get("range")) in [(204, "0-0"), (204, "0-2")]


def test_a_request_hidden_in_a_case_is_noticed(server: DoorServer) -> None:
    """A test of the check: the answer is the expected one, but something was removed."""
    hidden = answered("hidden", POISON, 202, methods=("DELETE",))
    with pytest.raises(AssertionError, match="one of"):
        check_all(server, [hidden])
    expect_untouched(server)


def test_a_case_that_is_taken_for_two_requests_fails(server: DoorServer) -> None:
    """A test of the check: it notices an additional answer, a missing one, and another status."""
    for case in (
        answered("one too many", PROBE * 2, 200),
        answered("one too few", PROBE, 200, 200),
        answered("another status", PROBE, 404),
        refused("accepted", PROBE),
        Case("stays open", PROBE, (200,)),
    ):
        with pytest.raises((AssertionError, TimeoutError)):
            check(server, case, timeout_seconds=0.5)

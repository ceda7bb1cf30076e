"""The lane that answers from the index leaves refusals to the application, which records events."""

from __future__ import annotations

import pytest

from dtrfast import _core
from dtrfast.server.door import wire
from dtrfast.server.door.hot import HotLane
from tests.api.managed.town import Town, basic

DIGEST = b"sha256:" + b"0" * 64


def ask(town: Town, who: str, path: bytes) -> bytes | None:
    """Return the lane's answer to a caller that it already knows."""
    authorization = basic(who)["authorization"]
    town.identity.guard.identify(authorization, "192.0.2.1")
    sent = b"GET /v2/%b HTTP/1.1\r\nhost: x\r\nauthorization: %b\r\n\r\n"
    head = _core.parse_head(sent % (path, authorization.encode()))
    assert isinstance(head, _core.Head)
    return HotLane(town.identity.guard, wire.Dates()).answer(head, ("192.0.2.1", 1))


@pytest.mark.parametrize("end", [b"manifests/v1", b"manifests/" + DIGEST, b"blobs/" + DIGEST])
def test_a_repository_that_the_caller_may_not_know_of(town: Town, end: bytes) -> None:
    for name in (b"acme/secret/", b"acme/not-there/"):
        assert ask(town, "nora", name + end) is None, "the application leaves an event"


def test_what_is_merely_missing_is_answered(town: Town) -> None:
    for who, path in (
        ("nora", b"acme/open/manifests/none"),
        ("rita", b"acme/app/blobs/" + DIGEST),
        ("admin", b"acme/not-there/manifests/v1"),
        ("owen", b"acme/not-there/blobs/" + DIGEST),
    ):
        answer = ask(town, who, path)
        assert answer is not None, path
        assert answer.startswith(b"HTTP/1.1 404 "), path

"""The parts of a case of the corpus."""

from __future__ import annotations

from dataclasses import dataclass

from tests.door.wire import request

# The victim is in the registry before any case. PROBE reads it, and POISON deletes it. A server
# that takes a part of a case for a request executes that part.
VICTIM = "victim/app"
TAG = "latest"
PROBE = request("GET", f"/v2/{VICTIM}/manifests/{TAG}")
LAST_PROBE = request("GET", f"/v2/{VICTIM}/manifests/{TAG}", "Connection: close")
POISON = request("DELETE", f"/v2/{VICTIM}/manifests/{TAG}")

# A manifest that needs no blob: a server that takes the body for complete stores it.
MANIFEST = (
    b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
)
SMUGGLED = "smuggled/app"
# Replaced by the path of an upload of SMUGGLED that was begun for the case.
UPLOAD = b"/UPLOAD"


@dataclass(frozen=True, slots=True)
class Case:
    """The bytes of a case, and their answers.

    After the last of `answers` the server closes the connection (`closes`), or it answers a
    LAST_PROBE on it. With None the server decides, and has to do what its answer says.
    """

    name: str
    sent: bytes
    answers: tuple[int, ...]
    closes: bool | None = True
    methods: tuple[str, ...] = ()  # of the answered requests; GET where missing
    ends: bool = False  # the client shuts down its side after the last byte


def refused(name: str, sent: bytes, status: int = 400) -> Case:
    return Case(name, sent, (status,))


def answered(name: str, sent: bytes, *answers: int, methods: tuple[str, ...] = ()) -> Case:
    """Return a case that is valid: the connection stays open and in sync."""
    return Case(name, sent, answers, False, methods)

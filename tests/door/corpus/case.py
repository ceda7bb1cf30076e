"""What a case of the corpus is made of."""

from __future__ import annotations

from dataclasses import dataclass

from tests.door.wire import request

# In the registry before any case; PROBE asks for it, POISON removes it. A server that takes a part
# of a case for a request of its own does what that part says.
VICTIM = "victim/app"
TAG = "latest"
PROBE = request("GET", f"/v2/{VICTIM}/manifests/{TAG}")
LAST_PROBE = request("GET", f"/v2/{VICTIM}/manifests/{TAG}", "Connection: close")
POISON = request("DELETE", f"/v2/{VICTIM}/manifests/{TAG}")

# A manifest that needs no blob: whoever takes the body for whole stores it.
MANIFEST = (
    b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
)
SMUGGLED = "smuggled/app"
# Replaced by the path of an upload of SMUGGLED that was opened for the case.
UPLOAD = b"/UPLOAD"


@dataclass(frozen=True, slots=True)
class Case:
    """Bytes, and what must come back.

    After the last of `answers` the server closes (`closes`), or it answers a LAST_PROBE on the same
    connection; None leaves that to the server, which then has to do what its answer says.
    """

    name: str
    sent: bytes
    answers: tuple[int, ...]
    closes: bool | None = True
    methods: tuple[str, ...] = ()  # of the requests that are answered, GET where there is none
    ends: bool = False  # the client ends its side after the last byte


def refused(name: str, sent: bytes, status: int = 400) -> Case:
    return Case(name, sent, (status,))


def answered(name: str, sent: bytes, *answers: int, methods: tuple[str, ...] = ()) -> Case:
    """Taken as what it is; the connection stays and is in step."""
    return Case(name, sent, answers, False, methods)

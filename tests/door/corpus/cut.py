"""Requests whose client ends its side in the middle: the server must not execute them."""

from __future__ import annotations

from collections.abc import Iterator

from tests.door.corpus.case import MANIFEST, PROBE, SMUGGLED, UPLOAD, Case
from tests.door.wire import chunked, request

_PUT = request("PUT", f"/v2/{SMUGGLED}/manifests/x", body=MANIFEST)
_CHUNKED = request(
    "PUT", f"/v2/{SMUGGLED}/manifests/x", "Transfer-Encoding: chunked", body=chunked(MANIFEST)
)
_APPEND = request("PATCH", UPLOAD.decode(), body=MANIFEST)


def cases() -> Iterator[Case]:
    """Yield all cases of this module. All end without an answer."""
    for name, sent in (
        ("nothing", b""),
        ("empty line", b"\r\n"),
        ("method", b"GET"),
        ("request line", PROBE.split(b"\n")[0]),
        ("head without its empty line", PROBE[:-2]),
        ("head without its last octet", PROBE[:-1]),
        ("manifest without its body", _PUT[: -len(MANIFEST)]),
        ("manifest without its last octet", _PUT[:-1]),
        ("chunked manifest without its last octet", _CHUNKED[:-1]),
        ("chunked manifest without its end", _CHUNKED[: -len(b"\r\n0\r\n\r\n")]),
        ("append without its last octet", _APPEND[:-1]),
    ):
        yield Case(name, sent, (), ends=True)

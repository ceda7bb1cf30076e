"""The hot lane: small responses that need the index alone, given at once.

The application's router finds the endpoint of a target, once for each target. The answers are the
application's values. The lane leaves all requests to the application that are not plainly its own,
and all failures but "not found" and the 429 of a held-off password. The look-ups run on the event
loop's thread: they read the memory-mapped index and nothing else.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from dtrfast import _core
from dtrfast.api.answers import COMMON_HEADERS, Answer
from dtrfast.api.canonical_paths import canonical_path
from dtrfast.api.challenge import TOKEN_PATH
from dtrfast.api.errors import error_answer
from dtrfast.api.v2 import base, blobs, manifests, router
from dtrfast.errors import Invalid, NotFound, RepositoryHidden, TooManyTries
from dtrfast.identity.guard import Guard
from dtrfast.oci.conditions import Conditions
from dtrfast.oci.digests import Digest, Reference, parse_reference
from dtrfast.oci.names import RepositoryName
from dtrfast.registry.registry import Registry
from dtrfast.server.access_log import AccessLogEntry, AccessWriter
from dtrfast.server.door import wire

# Targets whose endpoint is cached. The requests of a busy day have the same few thousand targets,
# and an entry takes under a kilobyte.
_TARGETS_MAX = 8192
_PREFIX = b"/v2/"
_COMMON_LINES = "".join(f"{name}: {value}\r\n" for name, value in COMMON_HEADERS.items()).encode()
_VARY_LINE = b"vary: Origin\r\n"
_CLOSE_LINE = b"connection: close\r\n"
_HSTS_LINE = b"strict-transport-security: %b\r\n"


@dataclass(frozen=True, slots=True)
class _Manifest:
    name: RepositoryName
    reference: Reference


@dataclass(frozen=True, slots=True)
class _Blob:
    name: RepositoryName
    digest: Digest
    location: str


_Target = Literal["base"] | _Manifest | _Blob


class HotLane:
    """Answers requests from the registry's index. Use it on the event loop's thread only."""

    def __init__(
        self,
        guard: Guard,
        dates: wire.Dates,
        access: AccessWriter | None = None,
        *,
        has_pages: bool = False,
    ) -> None:
        """`has_pages`: the application may admit pages of other origins (CORS)."""
        self._guard = guard
        self._dates = dates
        self._access = access
        self._has_pages = has_pages
        self._lines = _COMMON_LINES + (_VARY_LINE if has_pages else b"")

    def answer(
        self, head: _core.Head, client: tuple[str, int] | None, hsts: bytes = b""
    ) -> bytes | None:
        """Return the bytes of the whole response; None if the application has to answer.

        `client`: the client's address. `hsts`: the value of Strict-Transport-Security, if any.
        """
        if head.method not in ("GET", "HEAD") or self._is_of_application(head):
            return None
        found = _find_target(head.target)
        if found is None:
            return self._hold_off(head, client, hsts)
        target, path = found
        began = time.perf_counter()
        authorization = _header(head, b"authorization")
        visit = self._guard.known(authorization)
        if visit is None or (target == "base" and authorization is None and self._guard.challenges):
            return None  # the application must verify the credentials, or ask for them
        answer = self._answer(visit.registry, target, head)
        if answer is None:
            return None
        if self._access is not None:
            seconds = time.perf_counter() - began
            sent = len(answer.body) if wire.has_body(head.method, answer.status) else 0
            key = (head.method, path, answer.status)
            if self._access.tally.note(key, sent, seconds) or self._access.is_written:
                entry = _entry(head, path, client, answer, seconds)
                if visit.caller.kind != "anonymous":
                    entry.user = visit.caller.actor
                self._access.add(entry)
        return self._encode(head, answer, hsts)

    def _is_of_application(self, head: _core.Head) -> bool:
        """Return True for a request with a body, or of a page that may have another origin."""
        if head.chunked or head.content_length:
            return True
        return self._has_pages and _header(head, b"origin") is not None

    def _hold_off(
        self, head: _core.Head, client: tuple[str, int] | None, hsts: bytes
    ) -> bytes | None:
        """Return the refusal of one more password from an address that tried too many, or None.

        So a client that tries thousands of passwords a second costs little CPU time.
        """
        if client is None or _path_of(head.target) != TOKEN_PATH:
            return None
        seconds = self._guard.held_off_seconds(_header(head, b"authorization"), client[0])
        if seconds == 0:
            return None
        answer = error_answer(TooManyTries(seconds))
        if self._access is not None:
            entry = _entry(head, TOKEN_PATH.encode(), client, answer, 0.0)
            entry.is_hot = False  # the tally does not count refusals, so the recorder has to
            self._access.add(entry)
        return self._encode(head, answer, hsts)

    def _answer(self, registry: Registry, target: _Target, head: _core.Head) -> Answer | None:
        """Return the answer, which may be "not found"; None for another refusal or a fault.

        The application meets the same refusal or fault again. It answers and logs it.
        """
        try:
            if isinstance(target, _Manifest):
                found = registry.manifests.peek(target.name, target.reference)
                if found is None:
                    return None
                return manifests.answer_found(found, target.reference, Conditions.of(head.headers))
            if isinstance(target, _Blob):
                return self._answer_blob(registry, target, head)
            registry.confirm()
            return base.ANSWER
        except NotFound as error:
            return None if isinstance(error, RepositoryHidden) else error_answer(error)
        except Exception:
            return None  # also for a bug here: else the connection would end without a response

    def _answer_blob(self, registry: Registry, target: _Blob, head: _core.Head) -> Answer | None:
        peek = registry.blobs.peek(target.name, target.digest)
        if peek is None:
            return None
        conditions = Conditions.of(head.headers)
        if head.method == "HEAD":
            return blobs.answer_stat(peek.stat, target.location, conditions)
        if peek.body is None or any(name == b"range" for name, _ in head.headers):
            return None
        return blobs.answer_stat(peek.stat, target.location, conditions, peek.body)

    def _encode(self, head: _core.Head, answer: Answer, hsts: bytes) -> bytes:
        lines = self._dates.line() + self._lines
        if hsts:
            lines += _HSTS_LINE % hsts
        if must_close(head):
            lines += _CLOSE_LINE
        body = answer.body if wire.has_body(head.method, answer.status) else b""
        return _core.encode_answer(wire.status_line(answer.status), answer.headers, lines, body)


def must_close(head: _core.Head) -> bool:
    """Return True if the connection has to close after the response to this request.

    The response may have further reasons to close it.
    """
    return not head.keep_alive or head.version == "1.0"


@lru_cache(_TARGETS_MAX)
def _find_target(sent: bytes) -> tuple[_Target, bytes] | None:
    """Return the target and its canonical path; None if the lane does not answer it."""
    if not sent.startswith(_PREFIX):
        return None
    path = _path_of(sent)
    target = _find_endpoint(path)
    return None if target is None else (target, path.encode("latin-1"))


def _path_of(sent: bytes) -> str:
    return canonical_path(sent.partition(b"?")[0].decode("latin-1"))


def _find_endpoint(path: str) -> _Target | None:
    found = router.find_path(path)
    if found is None:
        return None
    if found.methods is router.BASE:
        return "base"
    try:
        if found.methods is router.MANIFEST:
            reference = parse_reference(found.reference)
            return _Manifest(RepositoryName.parse(found.name), reference)
        if found.methods is router.BLOB:
            name, digest = RepositoryName.parse(found.name), Digest.parse(found.reference)
            return _Blob(name, digest, f"/v2/{name}/blobs/{digest}")
    except Invalid:
        pass  # the application explains the error
    return None


def _header(head: _core.Head, wanted: bytes) -> str | None:
    for name, value in head.headers:
        if name == wanted:
            return value.decode("latin-1")
    return None


def _entry(
    head: _core.Head, path: bytes, client: tuple[str, int] | None, answer: Answer, seconds: float
) -> AccessLogEntry:
    scope = {
        "client": client,
        "method": head.method,
        "raw_path": path,
        "headers": head.headers,
    }
    sent = len(answer.body) if wire.has_body(head.method, answer.status) else 0
    return AccessLogEntry(
        time.time() - seconds,
        scope,
        answer.status,
        0,
        sent,
        seconds=seconds,
        complete=True,
        is_hot=True,
    )

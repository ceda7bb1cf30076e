"""Requests as values with the same meaning for each server, and their bytes for one server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.door.corpus import bodies, framing, lines
from tests.door.corpus.case import UPLOAD as CASE_UPLOAD
from tests.door.corpus.case import Case
from tests.door.differ.content import BODIES
from tests.door.wire import chunked, request

# A placeholder for the names of one example, so that no example sees the content of another.
SPACE = "SPACE"
# A placeholder for the path of the newest upload; UPLOAD1 is the one before, and so on.
UPLOAD = "UPLOAD"
UNKNOWN_UPLOAD = "00000000-0000-4000-8000-000000000000"
UPLOADS_MAX = 3


class Framing(StrEnum):
    """The framing of a body."""

    LENGTH = "length"
    CHUNKED = "chunked"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """A well-formed request."""

    method: str
    target: str
    headers: tuple[str, ...] = ()
    body: str = "nothing"  # the name of the body
    framing: Framing = Framing.NONE

    def write(self, space: str, uploads: Sequence[str]) -> bytes:
        """Return the bytes for a server that gave these ids to its uploads, oldest first."""
        body = BODIES[self.body]
        target = _fill(self.target, space, uploads)
        headers = tuple(_fill(header, space, uploads) for header in self.headers)
        if self.framing is Framing.CHUNKED:
            middle = len(body) // 2
            pieces = [piece for piece in (body[:middle], body[middle:]) if piece]
            headers = ("Transfer-Encoding: chunked", *headers)
            return request(self.method, target, *headers, body=chunked(*pieces))
        return request(self.method, target, *headers, body=body)


@dataclass(frozen=True, slots=True)
class Mutation:
    """Requests in which some octets were replaced. Their meaning is unknown, but all servers agree.

    No request is a HEAD: the edits may move answers from one request to another.
    """

    asks: tuple[RequestTemplate, ...]
    edits: tuple[tuple[int, int, bytes], ...]  # position, octets removed, octets inserted

    @property
    def methods(self) -> tuple[str, ...]:
        return ()

    def write(self, space: str, uploads: Sequence[str]) -> bytes:
        data = b"".join(ask.write(space, uploads) for ask in self.asks)
        for position, removed, inserted in self.edits:
            start = position % (len(data) + 1)
            data = data[:start] + inserted + data[start + removed :]
        return data


_CASES: list[list[Case]] = [
    [*lines.cases()],
    [case for carrier in framing.CARRIERS for case in framing.cases(carrier)],
    [case for carrier in framing.CARRIERS for case in bodies.cases(carrier)],
]
CASES = {case.name: case for cases in _CASES for case in cases}
# The names of the cases, by the kind of their fault.
KINDS = [[case.name for case in cases] for cases in _CASES]


@dataclass(frozen=True, slots=True)
class Hostile:
    """A case of the corpus, by its name."""

    name: str

    @property
    def methods(self) -> tuple[str, ...]:
        return CASES[self.name].methods

    def write(self, space: str, uploads: Sequence[str]) -> bytes:
        upload = _fill(f"/v2/{SPACE}/a/blobs/uploads/{UPLOAD}", space, uploads)
        return CASES[self.name].sent.replace(CASE_UPLOAD, upload.encode())


def _fill(text: str, space: str, uploads: Sequence[str]) -> str:
    text = text.replace(SPACE, space)
    for number in reversed(range(UPLOADS_MAX)):
        known = uploads[-1 - number] if number < len(uploads) else UNKNOWN_UPLOAD
        text = text.replace(f"{UPLOAD}{number or ''}", known)
    return text

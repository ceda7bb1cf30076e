"""The requests that a server under test has logged, and its warnings and errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.e2e.programs import ProgramFailed, wait_until
from tests.e2e.registry import Registry

_REQUEST = re.compile(
    r'\S+Z \S+ (?:-|"(?:[^"\\]|\\.)*") "(?P<method>\w+)" (?P<path>"(?:[^"\\]|\\.)*") '
    r'(?P<status>\d+|-) (?P<bytes_in>\d+) (?P<bytes_out>\d+) \S+ "(?:[^"\\]|\\.)*"(?P<cut> cut)?'
)
# Lines of a traceback count too. They are no requests, and have no time at the beginning.
_FINE = re.compile(r"\S+Z (INFO|DEBUG) |$")
# The challenge, and missing content: clients ask before they push.
_EXPECTED = frozenset({401, 404})
# Processes pass on their lines a few times per second.
_QUIET_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Request:
    """A request in the access log. `is_cut`: the client did not read the whole answer."""

    method: str
    path: str
    status: int
    bytes_in: int
    bytes_out: int
    is_cut: bool

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status}{' cut' if self.is_cut else ''}"


@dataclass
class Traffic:
    """The requests and complaints of a period. Empty until it is over."""

    requests: list[Request] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def of(self, method: str, part: str = "", *, status: int | None = None) -> list[Request]:
        """Return the requests with that method and status whose path contains `part`."""
        return [
            request
            for request in self.requests
            if request.method == method
            and part in request.path
            and status in (None, request.status)
        ]

    def surprises(self, *, hangs_up: bool = False) -> list[str]:
        """Return the server's warnings and errors, and the requests that failed or broke off.

        With `hangs_up` it is fine if the client does not read the whole answer.
        """
        refused = [
            request
            for request in self.requests
            if (request.is_cut and not hangs_up)
            or not (request.status < 400 or request.status in _EXPECTED)
        ]
        return [*self.complaints, *map(str, refused)]


@contextmanager
def watched(registry: Registry) -> Iterator[Traffic]:
    """Yield the traffic of the block, which is filled when the block ends."""
    traffic = Traffic()
    _wait_for_silence(registry)
    offset = registry.log_size()
    yield traffic
    _wait_for_silence(registry)
    for line in registry.log(offset).splitlines():
        if found := _REQUEST.fullmatch(line):
            traffic.requests.append(_request(found))
        elif not _FINE.match(line):
            traffic.complaints.append(line)


def _request(found: re.Match[str]) -> Request:
    status = found["status"]
    return Request(
        found["method"],
        json.loads(found["path"]),
        0 if status == "-" else int(status),
        int(found["bytes_in"]),
        int(found["bytes_out"]),
        found["cut"] is not None,
    )


def _wait_for_silence(registry: Registry) -> None:
    """Return when nothing was logged for a moment."""
    sizes: list[int] = []

    def is_silent() -> bool:
        sizes.append(registry.log_size())
        looks = int(_QUIET_SECONDS / 0.02)
        return len(sizes) > looks and sizes[-looks] == sizes[-1]

    try:
        wait_until(is_silent, registry.process, "silence in the log")
    except ProgramFailed as failure:
        raise ProgramFailed(f"registry {failure}") from None

"""Answers as values, so that whoever is asked, the application or a lane, says the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from starlette.responses import Response

# What every answer says.
COMMON_HEADERS: Mapping[str, str] = {
    "docker-distribution-api-version": "registry/2.0",
    "x-content-type-options": "nosniff",
}


class Answer(NamedTuple):
    """A whole answer. `headers` have lower-case names and, where it matters, content-length."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    def response(self) -> Response:
        return Response(self.body, self.status, self.headers)

"""Answers as values, which the application and the lanes share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from starlette.responses import Response

# Headers of every answer.
COMMON_HEADERS: Mapping[str, str] = {
    "docker-distribution-api-version": "registry/2.0",
    "x-content-type-options": "nosniff",
}


class Answer(NamedTuple):
    """A whole answer. Names of `headers` are in lower case. They include content-length where
    clients need it.
    """

    status: int
    headers: dict[str, str]
    body: bytes = b""

    def response(self) -> Response:
        """Return the answer as a response of Starlette."""
        return Response(self.body, self.status, self.headers)

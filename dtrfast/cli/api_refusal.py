"""The refusal of a request to the management API."""

from __future__ import annotations

from dtrfast.errors import DtrfastError


class ApiRefused(DtrfastError):
    """The registry refused a request, or does not answer. The message is the registry's own.

    `status` is the answer's status, 0 without an answer. `code` is the API's code for the reason.
    """

    def __init__(self, message: str, *, status: int = 0, code: str = "UNAVAILABLE") -> None:
        super().__init__(message)
        self.status = status
        self.code = code

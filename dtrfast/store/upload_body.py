"""The last body of an upload: its start, its announced end, and the client's knowledge of it."""

from __future__ import annotations

import msgspec

from dtrfast.store.blobs import LastBody
from dtrfast.store.upload_state import UploadState

_NO_BODY = {"begin": None, "end": None, "is_open": False, "is_told": False}


class UploadBody:
    """The last body, from a saved state on. `start` is the state at its start, None without a body.

    `end`, `is_open` and `is_told` are as in `LastBody`.
    """

    def __init__(self, state: UploadState) -> None:
        self.start, self.end = state.begin, state.end
        self.is_open, self.is_told = state.is_open, state.is_told

    def begin(self, state: UploadState, end: int | None) -> None:
        """Begin another body at `state`."""
        self.start = msgspec.structs.replace(state, **_NO_BODY)
        self.end = end
        self.reopen()

    def reopen(self) -> None:
        """Note that the body is not whole, or that its client could not be told."""
        self.is_open, self.is_told = True, False

    def at(self, offset: int) -> LastBody:
        """Return the last body of the upload, which has `offset` bytes."""
        begin = offset if self.start is None else self.start.offset
        return LastBody(begin, offset, self.end, self.is_open, self.is_told)

    def flags(self, offset: int) -> tuple[bool, bool, int | None]:
        """Return the values beside the bytes that must be saved when they change.

        They include the start of a body that broke off, even before its first byte. They leave out
        the start of a body that came whole: if that one was empty, the body before it may still be
        sent again.
        """
        return self.is_open, self.is_told, self.at(offset).begin if self.is_open else None

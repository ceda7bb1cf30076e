"""A closing body with two possible readings: as new bytes, or as the last body once more.

The digest proves the right reading. `docs/uploads.md` says when there are two.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from dtrfast.errors import DigestInvalid, RangeInvalid
from dtrfast.oci.digests import Digest
from dtrfast.store.one_body import OneBody

if TYPE_CHECKING:
    from dtrfast.store.uploads import LocalUpload


class Readings(OneBody):
    """An `Upload` that takes one body, with which `check` tries both readings.

    For the one reading, `kept`, the session's upload, takes the body at its offset. For the other,
    a copy of the session's bytes before the last body takes it. At first the body goes to one of
    them; it is copied to the other only if its digest is wrong.
    """

    def __init__(self, kept: LocalUpload, start: int, length: int | None) -> None:
        """`start`: the likely start of the body. Raises what `uploads.begin` raises."""
        super().__init__(kept)
        self._middle = kept.offset
        self._begin = kept.last_body.begin
        self._anew: LocalUpload | None = None
        self._is_settled = False
        if start == self._middle:
            kept.begin_body(start, length)
        else:
            self._anew = self.chosen = kept.copy(self._begin)

    def end_body(self) -> None:
        self.chosen.end_body()

    def append(self, data: bytes | bytearray | memoryview) -> None:
        self.chosen.append(data)

    def append_from(self, fill: Callable[[memoryview], int]) -> int:
        return self.chosen.append_from(fill)

    def truncate(self, offset: int) -> None:
        if self.chosen is self._kept:
            self._kept.truncate(offset)
        else:
            self.chosen.cancel()

    def check(self, digest: Digest) -> None:
        try:
            self.chosen.check(digest)
        except DigestInvalid:
            if self._is_settled:
                raise
            self._is_settled = True
            if not self._is_other(digest):
                raise

    def release(self) -> None:
        """Cancel the copy and release the session's upload, which keeps the bytes that it took."""
        try:
            if self._anew is not None:
                self._anew.cancel()
        finally:
            super().release()

    def cancel(self) -> None:
        try:
            if self._anew is not None:
                self._anew.cancel()
        finally:
            super().cancel()

    def _is_other(self, digest: Digest) -> bool:
        """Try the other reading; choose it and return True if it has the digest."""
        with contextlib.suppress(DigestInvalid, RangeInvalid):
            if self.chosen is self._kept:
                self._anew = other = self._kept.copy(self._begin)
                _append(other, self._kept.read_back(self._middle))
            else:
                other = self._kept
                try:
                    _append(other, self.chosen.read_back(self._begin))
                except BaseException:
                    other.truncate(self._middle)
                    raise
            other.check(digest)
            self.chosen = other
            return True
        return False


def _append(upload: LocalUpload, pieces: Iterable[bytes | memoryview]) -> None:
    for piece in pieces:
        upload.append(piece)

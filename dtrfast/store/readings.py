"""A closing body that may be read in two ways: as more bytes, or as the last body once more.

The digest proves which one was meant. `docs/uploads.md` says when there are two.
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
    """An `Upload` that takes one body, for `check` to try both readings.

    `kept` is the session's upload: there the body goes on at its offset. Elsewhere, in an upload
    of its own, it begins anew where the last one began. One of them takes the body; the other one
    is given it only when the digest fails.
    """

    def __init__(self, kept: LocalUpload, start: int, length: int | None) -> None:
        """`start`: where the body is thought to begin. Raises what a new upload does."""
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
        """The session is what it was, but for what `kept` has taken."""
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
        """True if the other reading has the digest; it is chosen then."""
        with contextlib.suppress(DigestInvalid, RangeInvalid):
            if self.chosen is self._kept:
                self._anew = other = self._kept.copy(self._begin)
                _append(other, self._kept.read_back(self._middle))
            else:
                other = self._kept
                self._append_to_kept()
            other.check(digest)
            self.chosen = other
            return True
        return False

    def _append_to_kept(self) -> None:
        try:
            _append(self._kept, self.chosen.read_back(self._begin))
        except BaseException:
            self._kept.truncate(self._middle)
            raise


def _append(upload: LocalUpload, pieces: Iterable[bytes | memoryview]) -> None:
    for piece in pieces:
        upload.append(piece)

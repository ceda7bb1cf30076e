"""A body that is brought once more after it has come whole: nothing of the upload changes.

Its client may have been told that the bytes are here, so they are not given up for others that
may break off. `docs/uploads.md` says when a body is such a repetition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dtrfast import _core
from dtrfast.errors import RangeInvalid
from dtrfast.oci.digests import Digest
from dtrfast.store.blobs import FILL_SIZE_MIN
from dtrfast.store.one_body import OneBody

if TYPE_CHECKING:
    from dtrfast.store.uploads import LocalUpload


class Repetition(OneBody):
    """The last body of an upload, again. Its bytes are hashed and dropped.

    Those of another body raise `RangeInvalid` at the end, and the client is told how far the upload
    has come.
    """

    def __init__(self, kept: LocalUpload, hashed: bytes, length: int | None) -> None:
        """`hashed`: the state of SHA-256 where the body began. Raises `RangeInvalid` for a body of
        another length.
        """
        super().__init__(kept)
        self._sha256 = _core.Sha256.restore(hashed)
        self._missing = kept.offset - kept.last_body.begin
        if length not in (None, self._missing):
            raise self._other()

    def end_body(self) -> None:
        if self._missing or self._sha256.digest() != self._kept.sha256().raw:
            raise self._other()

    def append(self, data: bytes | bytearray | memoryview) -> None:
        self._take(memoryview(data).cast("B"))

    def append_from(self, fill: Callable[[memoryview], int]) -> int:
        taken = 0
        with memoryview(bytearray(FILL_SIZE_MIN)) as room:
            while count := fill(room):
                self._take(room[:count])
                taken += count
        return taken

    def truncate(self, offset: int) -> None:
        assert offset == self.offset, "nothing was appended"

    def check(self, digest: Digest) -> None:
        self.end_body()
        self._kept.check(digest)

    def _take(self, data: memoryview) -> None:
        self._sha256.update(data)
        self._missing -= len(data)

    def _other(self) -> RangeInvalid:
        self.tell()
        message = "another body came whole meanwhile: ask how far the upload has come"
        return RangeInvalid(message, offset=self.offset)

"""A body that a client sends again after it came whole: the upload does not change.

The client may have been told that the bytes were received. So they are not dropped for a new body,
which might break off. `docs/uploads.md` says when a body is such a repetition.
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
    """The last body of an upload, once more. Its bytes are hashed and dropped.

    If they differ, `end_body` raises `RangeInvalid` with the upload's offset.
    """

    def __init__(self, kept: LocalUpload, hashed: bytes, length: int | None) -> None:
        """`hashed`: the state of SHA-256 at the start of the body. Raises `RangeInvalid` for a body
        of another length.
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
        message = "another body was received completely meanwhile: ask for the upload's offset"
        return RangeInvalid(message, offset=self.offset)

"""The base of uploads for one request whose body is not simply appended to the session's upload."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from dtrfast.oci.digests import Digest
from dtrfast.store.blobs import LastBody

if TYPE_CHECKING:
    from dtrfast.store.blobs import Upload
    from dtrfast.store.uploads import LocalUpload


class OneBody(ABC):
    """An `Upload` that takes one body.

    `kept` is the session's upload, and `chosen` the upload that is committed. Subclasses decide
    the use of the body.
    """

    def __init__(self, kept: LocalUpload) -> None:
        self.id = kept.id
        self.label = kept.label
        self.chosen = kept
        self._kept = kept

    @property
    def offset(self) -> int:
        return self.chosen.offset

    @property
    def last_body(self) -> LastBody:
        return self._kept.last_body

    def begin_body(self, start: int, length: int | None, *, is_guess: bool = False) -> Upload:
        raise AssertionError("a request brings one body")

    @abstractmethod
    def end_body(self) -> None: ...

    def reopen_body(self) -> None:
        self.chosen.reopen_body()

    def tell(self) -> None:
        self._kept.tell()

    def is_recalled(self) -> bool:
        return self._kept.is_recalled()

    @abstractmethod
    def append(self, data: bytes | bytearray | memoryview) -> None: ...

    @abstractmethod
    def append_from(self, fill: Callable[[memoryview], int]) -> int: ...

    @abstractmethod
    def truncate(self, offset: int) -> None: ...

    @abstractmethod
    def check(self, digest: Digest) -> None: ...

    def save(self) -> None:
        self.chosen.save()

    def release(self) -> None:
        self._kept.release()

    def cancel(self) -> None:
        self._kept.cancel()

    def forget(self) -> None:
        """After a commit: remove the files that the index does not own."""
        self.cancel()

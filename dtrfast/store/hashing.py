"""The digests of an upload, computed on the second thread where that is free."""

from __future__ import annotations

from functools import partial

from dtrfast import _core
from dtrfast.store.second_thread import Job, SecondThread

# Less is hashed at once: handing it to another thread would take about as long.
_BESIDE_SIZE_MIN = 131072


class Hashing:
    """The SHA-256 and, if it was announced, the SHA-512 of one upload."""

    def __init__(self, thread: SecondThread, sha256: bytes, sha512: bytes | None) -> None:
        """Goes on from saved states."""
        self._thread = thread
        self._beside: list[Job[None]] = []  # begun, in order, and not waited for
        self.sha256 = _core.Sha256.restore(sha256)
        self.sha512 = None if sha512 is None else _core.Sha512.restore(sha512)

    def update(self, data: memoryview) -> None:
        """Hash `data`, which must not change before `settle`."""
        if len(data) >= _BESIDE_SIZE_MIN and self._thread.is_free:
            # Not waited for: bytes come faster than they are hashed, but then are cut and compared.
            self._beside.append(self._thread.begin(partial(self._update, data)))
        else:
            self.settle()
            self._update(data)

    def settle(self) -> None:
        """Wait until all that was given is hashed."""
        beside, self._beside = self._beside, []
        # The last one first: they are done in order, so none runs any more when one has failed.
        for job in reversed(beside):
            job.wait()

    def _update(self, data: memoryview) -> None:
        self.sha256.update(data)
        if self.sha512 is not None:
            self.sha512.update(data)

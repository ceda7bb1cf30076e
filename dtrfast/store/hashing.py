"""The digests of an upload, computed on the second thread while it is free."""

from __future__ import annotations

from functools import partial

from dtrfast import _core
from dtrfast.store.second_thread import SecondThread, ThreadJob

# Fewer bytes are hashed by the caller: handing them to another thread takes about as long.
_BESIDE_SIZE_MIN = 131072


class UploadHasher:
    """The SHA-256 and, if it was announced, the SHA-512 of one upload."""

    def __init__(self, thread: SecondThread, sha256: bytes, sha512: bytes | None) -> None:
        """`sha256` and `sha512` are saved states to go on from."""
        self._thread = thread
        self._beside: list[ThreadJob[None]] = []  # begun, in order, without a wait yet
        self.sha256 = _core.Sha256.restore(sha256)
        self.sha512 = None if sha512 is None else _core.Sha512.restore(sha512)

    def update(self, data: memoryview) -> None:
        """Hash `data`, which must not change before `settle`."""
        if len(data) >= _BESIDE_SIZE_MIN and self._thread.is_free:
            # No wait: the caller cuts and compares the bytes meanwhile.
            self._beside.append(self._thread.begin(partial(self._update, data)))
        else:
            self.settle()
            self._update(data)

    def settle(self) -> None:
        """Wait until all bytes given to `update` are hashed."""
        beside, self._beside = self._beside, []
        # The last job first: jobs run in order, so that none runs any more when a wait raises.
        for job in reversed(beside):
            job.wait()

    def _update(self, data: memoryview) -> None:
        self.sha256.update(data)
        if self.sha512 is not None:
            self.sha512.update(data)

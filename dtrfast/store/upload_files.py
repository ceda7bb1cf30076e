"""The files of an upload: the data file, which is a loose file or a pack, and the parts file."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from dtrfast.machine import bytes_in_flight, disk
from dtrfast.machine.write_back import WriteBack
from dtrfast.store.context import StoreContext
from dtrfast.store.upload_state import Mode, UploadState


class UploadFiles:
    """Opens each file when it is needed first, and writes the data file back early.

    The caller states the mode, which decides whether the data file is a loose file or a pack.
    """

    def __init__(
        self,
        context: StoreContext,
        file_id: bytes,
        state: UploadState,
        doubt: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """`doubt` is entered around every call that can see an error of write-back."""
        self._layout = context.layout
        self._file_id = file_id
        self._doubt = doubt
        self._data = self._parts = -1
        self._write_back: WriteBack | None = None
        self._started, self._on_disk = state.started, state.on_disk

    @property
    def started(self) -> int:
        """Bytes at the beginning of the data file whose write-back was started."""
        return self._started if self._write_back is None else self._write_back.started

    @property
    def on_disk(self) -> int:
        """Bytes at the beginning of the data file that are known to be on disk."""
        return self._on_disk if self._write_back is None else self._write_back.on_disk

    def go_back(self, state: UploadState) -> None:
        """Take the progress of write-back from a state. The descriptors stay open."""
        self._close_write_back()
        self._started, self._on_disk = state.started, state.on_disk

    def create_data(self, mode: Mode) -> int:
        """Create an empty data file; return its descriptor.

        Removes the files that a request wrote before it was truncated, or killed.
        """
        if self._data >= 0:
            os.close(self._data)
            self._data = -1
        disk.remove(self._layout.blob(self._file_id))
        disk.remove(self._layout.pack(self._file_id))
        self._data = disk.create(self._data_path(mode))
        return self._data

    def data(self, mode: Mode) -> int:
        """The descriptor of the data file, which exists."""
        if self._data < 0:
            self._data = disk.open_existing(self._data_path(mode), write=True)
        return self._data

    def parts(self) -> int:
        """The descriptor of the parts file."""
        if self._parts < 0:
            self._parts = disk.open_or_create(self._layout.upload(self._file_id, "parts"))
        return self._parts

    def write_early(self, mode: Mode, end: int) -> None:
        """Start write-back of the data file, which has grown to `end` bytes.

        A small file only waits for its sync. Raises what `WriteBack.note` raises.
        """
        if self._write_back is None:
            if end - self._started < bytes_in_flight.PIECE_SIZE_MIN:
                return
            self._write_back = WriteBack(
                self.data(mode), started=self._started, on_disk=self._on_disk, doubt=self._doubt
            )
        self._write_back.note(end)

    def settle(self) -> None:
        """Wait for the write-back that was started. Raises what `WriteBack.settle` raises."""
        if self._write_back is not None:
            self._write_back.settle()

    def sync(self, mode: Mode, size: int) -> None:
        """Cut the data file off at `size` bytes; put it and its directory on stable storage.

        After an error the content of the disk is unknown, so the upload must not be used any more.
        """
        disk.cut_off(self.data(mode), size)
        self.write_early(mode, size)
        with self._doubt():
            disk.sync(self.data(mode))
            disk.sync_directory(self._data_path(mode).parent)
        self._close_write_back()

    def close(self) -> None:
        """Close all descriptors. Idempotent."""
        self._close_write_back()
        for descriptor in (self._data, self._parts):
            if descriptor >= 0:
                os.close(descriptor)
        self._data = self._parts = -1

    def _data_path(self, mode: Mode) -> Path:
        path = self._layout.blob if mode == "loose" else self._layout.pack
        return path(self._file_id)

    def _close_write_back(self) -> None:
        if self._write_back is not None:
            self._write_back.close()
            self._started = self._on_disk = self._write_back.started
            self._write_back = None

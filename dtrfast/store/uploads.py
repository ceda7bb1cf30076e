"""An upload on this machine: where its bytes go as they come.

They are received into a large buffer and hashed there. The first 8 KiB are held back: a blob that
ends within them is *inline*. Then the first bytes decide between *loose* (compressed content, a
file byte for byte) and *chunked* (a pack of its own, fed by `Ingest`). What no chunk was cut from
yet is the *tail*.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from dtrfast import _core
from dtrfast.errors import DigestInvalid, DtrfastError, RangeInvalid, UploadUnknown
from dtrfast.machine import bytes_on_way, disk
from dtrfast.machine.write_back import WriteBack
from dtrfast.oci.digests import Digest
from dtrfast.store import codec, leftovers, packs, tails
from dtrfast.store import parts as part_file
from dtrfast.store.blobs import FILL_SIZE_MIN, LastBody, Upload
from dtrfast.store.context import Context
from dtrfast.store.hashing import Hashing
from dtrfast.store.ingest import Ingest, Position
from dtrfast.store.pending import Pending, source
from dtrfast.store.readings import Readings
from dtrfast.store.repetition import Repetition
from dtrfast.store.tails import SavedTail
from dtrfast.store.upload_parts import UploadParts
from dtrfast.store.upload_state import Mode, StateFile, UploadState, new_file_id

INLINE_SIZE_MAX = 8192  # design: configs and small artifacts, one look-up instead of a file
# A worker that is killed loses at most this much of a request's bytes; the state costs 0.02 ms to
# write.
_SAVE_BYTES = 8 << 20
_READ_SIZE = 1 << 20
_NO_BODY = {"begin": None, "end": None, "is_open": False, "is_told": False}
# Bytes are hashed in pieces of this size as they come: they still are in the cache, and the other
# core has something to do while more are received.
_HASH_SIZE = 1 << 18


class LocalUpload:
    """`Upload` on files; holds the lock of its state file from construction to `release`."""

    def __init__(
        self, context: Context, file_id: bytes, state_file: StateFile, state: UploadState
    ) -> None:
        self.id = str(uuid.UUID(bytes=file_id))
        self.file_id = file_id
        self.session = file_id  # what the client knows the upload by
        self._context = context
        self._state_file = state_file
        self._begin = state  # where this request began
        self._body_begin: UploadState | None = None  # where the last body began
        self._data = self._parts = -1
        self._failed = False
        self._checked: Digest | None = None
        self._ingest: Ingest | None = None
        self._write_back: WriteBack | None = None
        self._mode: Mode = state.mode
        self._closing = state.closing
        self._pending = Pending(context.buffers)
        self._unhashed = 0  # bytes at the end of those pending
        self._scanned = 0  # bytes at the beginning of those pending that hold no cut
        self._load(state)

    @property
    def offset(self) -> int:
        return self._offset

    @property
    def mode(self) -> Mode:
        return self._mode

    @property
    def closing(self) -> bool:
        return self._closing

    @property
    def chosen(self) -> LocalUpload:
        """The upload to commit."""
        return self

    @property
    def last_body(self) -> LastBody:
        begin = self._offset if self._body_begin is None else self._body_begin.offset
        return LastBody(begin, self._offset, self._end, self._is_open, self._is_told)

    @property
    def position(self) -> Position:
        """How far the pack and the parts file have come."""
        return self._position if self._ingest is None else self._ingest.at

    @property
    def head(self) -> bytes:
        """The content, while the mode is head."""
        return bytes(self._pending.in_memory())

    def sha256(self) -> Digest:
        """Of the bytes so far."""
        return Digest("sha256", self._hashing.sha256.digest())

    def begin_body(self, start: int, length: int | None, *, is_guess: bool = False) -> Upload:
        last = self.last_body
        assert start in (last.begin, last.offset), "a body begins at one of two places"
        if is_guess and last.begin < last.offset:
            return Readings(self, start, length)
        if start != last.offset and not last.is_open:
            return Repetition(self, self._where_the_body_began().sha256, length)
        if start != last.offset:
            self._restart()
        self._body_begin = msgspec.structs.replace(self._begin, **_NO_BODY)
        self._end = None if length is None else start + length
        self._is_open, self._is_told = True, False
        return self

    def end_body(self) -> None:
        self._is_open = False
        self._save()

    def reopen_body(self) -> None:
        self._is_open, self._is_told = True, False

    def tell(self) -> None:
        self._is_told = True

    def is_recalled(self) -> bool:
        return self._state_file.is_recalled()

    def append(self, data: bytes | bytearray | memoryview) -> None:
        self.append_from(source(memoryview(data).cast("B")))

    def append_from(self, fill: Callable[[memoryview], int]) -> int:
        begin = self._offset
        with self._context.second_thread.transfer():
            try:
                while count := fill(self._pending.room()):
                    self._take(count)
            finally:
                self._rest()
        return self._offset - begin

    def truncate(self, offset: int) -> None:
        assert offset == self._begin.offset, (
            "an upload goes back to where its request began, nowhere else"
        )
        self._go_back_to(self._begin)

    def _restart(self) -> None:
        """Go back to where the last body began, for good: its bytes are about to be written over,
        so that the state on disk must not name them any more.
        """
        self._begin = self._where_the_body_began()
        self._go_back_to(self._begin)

    def _where_the_body_began(self) -> UploadState:
        if self._closing:
            raise self._closed()
        assert self._body_begin is not None, "only a body begins elsewhere than the upload ends"
        return self._body_begin

    def _closed(self) -> RangeInvalid:
        message = "the upload is being closed: send its last PUT again"
        return RangeInvalid(message, offset=self._offset)

    def _go_back_to(self, state: UploadState) -> None:
        self._load(state)
        self._failed, self._checked = False, None
        self._state_file.write(state)

    def copy(self, size: int) -> LocalUpload:
        """Another upload with the first `size` bytes, for the same session. Raises what `begin` and
        `append` do.
        """
        upload = begin(self._context, self.label, self._algorithm)
        upload.session = self.session
        try:
            for piece in self.read_back(0, size):
                upload.append(piece)
        except BaseException:
            upload.cancel()
            raise
        return upload

    def check(self, digest: Digest) -> None:
        if digest == self._checked:
            return  # reading everything again for SHA-512 once is enough
        actual = self._digest(digest.algorithm)
        if actual != digest:
            raise DigestInvalid(
                f"the content has the digest {actual}, not {digest}, and this upload has ended:"
                " send the blob again in a new one",
                detail=str(digest),
            )
        self._checked = digest

    def save(self) -> None:
        if self._write_back is not None and not self._failed:
            with self._marked():
                self._write_back.settle()
        self._save()

    def _save(self) -> None:
        if self._state_file.is_open and not self._failed and not self._closing:
            if self._offset != self._saved_offset or self._flags != self._saved_flags:
                self._save_state()
            if self._mode == "chunked":
                self._pending.leave(self._saved.size)

    def release(self) -> None:
        try:
            self._save()
        finally:
            self._leave()

    def _leave(self) -> None:
        """Let go. What an upload has on disk that the disk failed under goes with it."""
        if self._state_file.is_open and self._state_file.is_void:
            self.cancel()
        self._close()

    def cancel(self) -> None:
        self._failed = True
        try:
            leftovers.remove_upload(self._context, self.file_id)
        finally:
            self._close()

    def finish(self) -> None:
        """Cut the last chunk and put all files on stable storage. Only the commit follows. May be
        repeated.
        """
        if self._mode == "chunked" and not self._closing:
            self._closing = True
            self._store(final=True)
            self._save_state()
        if self._mode == "chunked":
            self._write_recipe()
        if self._mode != "head":
            self._sync()

    def _sync(self) -> None:
        try:
            disk.cut_off(self._open_data(), self.data_size())
            self._write_early(self.data_size())
            with self._state_file.doubted():
                disk.sync(self._open_data())
                disk.sync_directory(self._data_path().parent)
            self._close_write_back()
        except DtrfastError:
            # After a failed sync nobody knows what the disk has: nothing of the upload can be
            # trusted.
            self.cancel()
            raise

    def data_size(self) -> int:
        """Bytes of the loose file or, when it is finished, of the pack."""
        return self._offset if self._mode == "loose" else self.position.pack_size + self.recipe_size

    @property
    def recipe_size(self) -> int:
        """Bytes of the recipe at the end of the finished pack."""
        return packs.recipe_size(self.position.parts)

    def _write_recipe(self) -> None:
        """Behind the pack's chunks, so that the index is not the only one to know it."""
        end, offset = self.position.pack_size, 0
        sha256 = self.sha256().raw
        with self._marked():
            for first in range(0, self.position.parts, packs.RECIPE_PARTS_MAX):
                count = min(packs.RECIPE_PARTS_MAX, self.position.parts - first)
                parts = [(part.id, part.length) for part in self.read_parts(first, count)]
                piece = packs.RecipePiece(sha256, self._offset, offset, parts)
                end += disk.write_at(self._open_data(), [packs.recipe_piece(piece)], end)
                offset += sum(length for _, length in parts)

    def read_parts(self, first: int, count: int) -> list[part_file.Part]:
        return part_file.read(self._open_parts(), first, count)

    def forget(self) -> None:
        """After a commit: remove what the index has not taken over."""
        self.cancel()

    # ---- bytes in -----------------------------------------------------------------------------
    def _take(self, count: int) -> None:
        """The next `count` bytes lie behind those that are pending."""
        if self._closing:
            raise self._closed()
        self._checked = None
        self._pending.add(count)
        self._offset += count
        self._unhashed += count
        if self._unhashed >= _HASH_SIZE:
            self._hash()
        if self._mode == "head" and self._pending.size > INLINE_SIZE_MAX:
            self._choose()
        if len(self._pending.room()) < FILL_SIZE_MIN:
            self._store()

    def _rest(self) -> None:
        """No bytes come for now."""
        if not self._failed and self._is_storing_due():
            self._store()
        self._hash()
        self._hashing.settle()
        self._pending.park()

    def _is_storing_due(self) -> bool:
        """Whether what is pending should not wait for more."""
        if self._mode == "chunked":
            return self._pending.is_large and self._context.buffers.is_scarce
        return self._mode == "loose" and self._pending.size > 0

    def _hash(self) -> None:
        if self._unhashed:
            self._hashing.update(self._pending.last(self._unhashed))
            self._unhashed = 0

    def _store(self, *, final: bool = False) -> None:
        """Put what is pending where it belongs. Of a chunked upload a tail stays pending, unless it
        is the final one.
        """
        self._hash()
        try:
            with self._marked():
                self._pending.load(self._read_tail)
                data = self._pending.in_memory()
                self._context.space.check(len(data))
                if self._mode == "loose":
                    used = disk.write_at(self._open_data(), [data], self._offset - len(data))
                else:
                    used = self._open_ingest().feed(data, scanned=self._scanned, final=final)
                end = self._offset if self._mode == "loose" else self.position.pack_size
                self._write_early(end)
        finally:
            self._hashing.settle()
        self._pending.drop(used)
        self._scanned = self._pending.size
        if self._offset - self._saved_offset >= _SAVE_BYTES:
            self._save_state()

    @contextmanager
    def _marked(self) -> Iterator[None]:
        """Whatever fails in the block leaves files that do not fit the upload's offset. The state
        on disk, and the tail that it names, stay as they are.
        """
        try:
            yield
        except BaseException:
            self._failed = True
            raise

    def _choose(self) -> None:
        """Loose or chunked, by the first bytes; makes the file."""
        first = bytes(self._pending.in_memory()[:8])
        self._mode = "loose" if codec.is_compressed(first) else "chunked"
        with self._marked():
            self._drop_data()
            self._data = disk.create(self._data_path())
            if self._mode == "chunked":
                header = packs.header(self._context.store_id, self.file_id, self._context.clock())
                self._position = Position(disk.write_at(self._data, [header], 0), 0)

    def _open_ingest(self) -> Ingest:
        if self._ingest is None:
            context = self._context
            descriptors = (self._open_data(), self._open_parts())
            self._ingest = Ingest(context, descriptors, self._position)
        return self._ingest

    # ---- digests ------------------------------------------------------------------------------
    def _digest(self, algorithm: str) -> Digest:
        if algorithm == "sha256":
            return self.sha256()
        if self._hashing.sha512 is not None:
            return Digest("sha512", self._hashing.sha512.digest())
        # Nobody said at the beginning that it would be SHA-512: the bytes are read again.
        digest = hashlib.sha512()
        for data in self.read_back():
            digest.update(data)
        return Digest("sha512", digest.digest())

    def read_back(self, begin: int = 0, end: int | None = None) -> Iterator[bytes | memoryview]:
        """The bytes from `begin` to `end`, or to the offset. Nothing may be appended meanwhile."""
        end = self._offset if end is None else end
        if self._mode == "loose":
            for offset in range(begin, end, _READ_SIZE):
                yield disk.read_at(self._open_data(), min(_READ_SIZE, end - offset), offset)
            return
        offset = 0
        if self._mode == "chunked":
            self._pending.load(self._read_tail)
            parts = UploadParts(self._context, self._open_data(), self._open_parts())
            yield from parts.read(self.position.parts, begin, end)
            offset = self._offset - self._pending.size
        if offset < end:
            yield self._pending.in_memory()[max(0, begin - offset) : end - offset]

    # ---- state --------------------------------------------------------------------------------
    def _load(self, state: UploadState) -> None:
        self.label = state.label
        self._algorithm = state.algorithm
        self._created_at = state.created_at
        self._mode = state.mode
        self._offset = self._saved_offset = state.offset
        self._hashing = Hashing(self._context.second_thread, state.sha256, state.sha512)
        self._pending.leave(0)
        self._pending = Pending(self._context.buffers, state.head, saved=state.tail_size)
        self._unhashed = self._scanned = 0
        self._close_write_back()
        self._started, self._on_disk = state.started, state.on_disk
        self._saved = SavedTail(state.tail_size, state.tail_slot)
        self._position = Position(state.pack_size, state.parts)
        self._ingest = None
        self._closing = state.closing
        self._body_begin, self._end = state.begin, state.end
        self._is_open, self._is_told = state.is_open, state.is_told
        self._saved_flags = self._flags

    @property
    def _flags(self) -> tuple[bool, bool, int | None]:
        """The state beside the bytes that has to be saved when it changes.

        It includes the start of a body that broke off, even before its first byte. It leaves out
        the start of a body that came whole: if that one was empty, the body before it may still be
        sent again.
        """
        return self._is_open, self._is_told, self.last_body.begin if self._is_open else None

    def _save_state(self) -> None:
        if self._mode == "chunked" and self._pending.size >= tails.SIZE_MAX:
            self._store()
        with self._marked():
            tail = self._write_tail() if self._mode == "chunked" else self._saved
            self._state_file.write(self._state(tail))
        self._saved = tail
        self._saved_offset, self._saved_flags = self._offset, self._flags

    def _state(self, tail: SavedTail) -> UploadState:
        write_back = self._write_back
        return UploadState(
            boot_id=self._context.boot_id,
            label=self.label,
            algorithm=self._algorithm,
            created_at=self._created_at,
            mode=self._mode,
            offset=self._offset,
            sha256=self._hashing.sha256.save(),
            sha512=None if self._hashing.sha512 is None else self._hashing.sha512.save(),
            head=self.head if self._mode == "head" else b"",
            pack_size=self.position.pack_size,
            parts=self.position.parts,
            tail_size=tail.size,
            tail_slot=tail.slot,
            closing=self._closing,
            begin=self._body_begin,
            end=self._end,
            is_open=self._is_open,
            is_told=self._is_told,
            started=self._started if write_back is None else write_back.started,
            on_disk=self._on_disk if write_back is None else write_back.on_disk,
        )

    def _write_tail(self) -> SavedTail:
        states = (self._begin, self._begin.begin, self._body_begin)
        named = {state.tail_slot for state in states if state is not None}
        return tails.write(self._tail_path, self._pending, self._saved, named)

    def _read_tail(self, into: memoryview) -> None:
        tails.read_into(self._tail_path, into, self._saved)

    @property
    def _tail_path(self) -> Path:
        return self._context.layout.upload(self.file_id, "tail")

    # ---- files --------------------------------------------------------------------------------
    def _data_path(self) -> Path:
        return data_path(self._context, self.file_id, self._mode)

    def _drop_data(self) -> None:
        """Remove what a request that was taken back, or killed, has written."""
        if self._data >= 0:
            os.close(self._data)
            self._data = -1
        disk.remove(self._context.layout.blob(self.file_id))
        disk.remove(self._context.layout.pack(self.file_id))

    def _open_data(self) -> int:
        if self._data < 0:
            self._data = disk.open_existing(self._data_path(), write=True)
        return self._data

    def _write_early(self, end: int) -> None:
        """The data file has grown to `end` bytes. A small one only waits for its sync."""
        if self._write_back is None:
            if end - self._started < bytes_on_way.PIECE_SIZE_MIN:
                return
            self._write_back = WriteBack(
                self._open_data(),
                started=self._started,
                on_disk=self._on_disk,
                doubt=self._state_file.doubted,
            )
        self._write_back.note(end)

    def _close_write_back(self) -> None:
        if self._write_back is not None:
            self._write_back.close()
            self._started = self._on_disk = self._write_back.started
            self._write_back = None

    def _open_parts(self) -> int:
        if self._parts < 0:
            self._parts = disk.open_or_create(self._context.layout.upload(self.file_id, "parts"))
        return self._parts

    def _close(self) -> None:
        self._close_write_back()
        for descriptor in (self._data, self._parts):
            if descriptor >= 0:
                os.close(descriptor)
        self._data = self._parts = -1
        self._ingest = None
        self._pending.leave(0)
        self._state_file.close()


def begin(context: Context, label: str, algorithm: str) -> LocalUpload:
    """A new, empty upload. Raises `StorageFull` before there is anything to take back."""
    context.space.check()
    file_id = new_file_id(context.clock() * 1000)
    state_file = StateFile.create(context.layout.upload(file_id, "state"))
    state = UploadState(
        boot_id=context.boot_id,
        label=label,
        algorithm=algorithm,
        created_at=context.clock(),
        mode="head",
        offset=0,
        sha256=_core.Sha256().save(),
        sha512=_core.Sha512().save() if algorithm == "sha512" else None,
        head=b"",
        pack_size=0,
        parts=0,
        tail_size=0,
        tail_slot=0,
        closing=False,
    )
    try:
        state_file.write(state)
    except BaseException:
        leftovers.remove_state(context, file_id)
        state_file.close()
        raise
    return LocalUpload(context, file_id, state_file, state)


def resume(context: Context, label: str, file_id: bytes, wait_seconds: float) -> LocalUpload:
    """The upload, held. Raises `UploadUnknown`, also for another label or boot, and
    `UploadBusy` after `wait_seconds`.
    """
    state_file = StateFile.open(context.layout.upload(file_id, "state"), wait_seconds)
    try:
        return LocalUpload(
            context, file_id, state_file, _usable(context, label, file_id, state_file)
        )
    except BaseException:
        state_file.close()
        raise


def _usable(context: Context, label: str, file_id: bytes, state_file: StateFile) -> UploadState:
    """The state, if an upload can go on from it. What a dead process had ended is ended here."""
    state = state_file.read()
    if state is None or state.label != label or state.boot_id != context.boot_id:
        raise UploadUnknown("no such upload: begin a new one")
    if state_file.is_doubted:
        leftovers.remove_upload(context, file_id)
        raise UploadUnknown("the disk has failed under this upload: begin a new one")
    if leftovers.has_ended(context, file_id, has_file=state.mode != "head"):
        leftovers.remove_upload(context, file_id)
        raise UploadUnknown("the upload has ended: begin a new one")
    return state


def data_path(context: Context, file_id: bytes, mode: Mode) -> Path:
    """Where the loose file or the pack of an upload lies."""
    layout = context.layout
    return layout.blob(file_id) if mode == "loose" else layout.pack(file_id)

"""An upload on this machine: its bodies, its saved state, and its files.

`UploadBytes` receives the bytes and puts them into files. This module decides where a body begins,
when the state is saved, and which failures end the upload.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

from dtrfast import _core
from dtrfast.errors import DigestInvalid, DtrfastError, RangeInvalid, UploadUnknown
from dtrfast.oci.digests import Digest
from dtrfast.store import leftovers
from dtrfast.store.blobs import LastBody, Upload
from dtrfast.store.context import StoreContext
from dtrfast.store.pending import source
from dtrfast.store.readings import Readings
from dtrfast.store.repetition import Repetition
from dtrfast.store.tails import SavedTail
from dtrfast.store.upload_body import UploadBody
from dtrfast.store.upload_bytes import UploadBytes
from dtrfast.store.upload_files import UploadFiles
from dtrfast.store.upload_state import Mode, StateFile, UploadState, new_file_id

# A worker that is killed loses at most this much of a request's bytes; the state costs 0.02 ms to
# write.
_SAVE_BYTES = 8 << 20


class LocalUpload:
    """`Upload` on files; holds the lock of its state file from construction to `release`.

    `received` has the bytes so far. `session` is the id by which the client knows the upload.
    """

    def __init__(
        self, context: StoreContext, file_id: bytes, state_file: StateFile, state: UploadState
    ) -> None:
        self.id = str(uuid.UUID(bytes=file_id))
        self.file_id = file_id
        self.session = file_id
        self.label = state.label
        self._context = context
        self._state_file = state_file
        self._files = UploadFiles(context, file_id, state, state_file.doubted)
        self._begin = state  # where this request began
        self._checked: Digest | None = None
        self._load(state)

    @property
    def offset(self) -> int:
        return self.received.offset

    @property
    def mode(self) -> Mode:
        return self.received.mode

    @property
    def chosen(self) -> LocalUpload:
        """The upload to commit."""
        return self

    @property
    def last_body(self) -> LastBody:
        return self._body.at(self.offset)

    # ---- bodies -------------------------------------------------------------------------------
    def begin_body(self, start: int, length: int | None, *, is_guess: bool = False) -> Upload:
        last = self.last_body
        assert start in (last.begin, last.offset), "a body begins at one of two places"
        if is_guess and last.begin < last.offset:
            return Readings(self, start, length)
        if start != last.offset and not last.is_open:
            return Repetition(self, self._where_the_body_began().sha256, length)
        if start != last.offset:
            # For good: the bytes of the last body are about to be written over, so the state on
            # disk must not name them any more.
            self._begin = self._where_the_body_began()
            self._go_back_to(self._begin)
        self._body.begin(self._begin, None if length is None else start + length)
        return self

    def end_body(self) -> None:
        self._body.is_open = False
        self._save()

    def reopen_body(self) -> None:
        self._body.reopen()

    def tell(self) -> None:
        self._body.is_told = True

    def is_recalled(self) -> bool:
        return self._state_file.is_recalled()

    def truncate(self, offset: int) -> None:
        assert offset == self._begin.offset, (
            "an upload goes back to where its request began, nowhere else"
        )
        self._go_back_to(self._begin)

    def _where_the_body_began(self) -> UploadState:
        if self._closing:
            raise self._closed()
        assert self._body.start is not None, "only a body begins elsewhere than the upload ends"
        return self._body.start

    def _closed(self) -> RangeInvalid:
        message = "the upload is being closed: send its last PUT again"
        return RangeInvalid(message, offset=self.offset)

    def _go_back_to(self, state: UploadState) -> None:
        self.received.close()
        self._files.go_back(state)
        self._load(state)
        self._checked = None
        self._state_file.write(state)

    def _load(self, state: UploadState) -> None:
        self.received = UploadBytes(self._context, self.file_id, self._files, state)
        self._closing = state.closing
        self._body = UploadBody(state)
        self._saved_offset, self._saved_flags = state.offset, self._body.flags(state.offset)

    # ---- bytes --------------------------------------------------------------------------------
    def append(self, data: bytes | bytearray | memoryview) -> None:
        self.append_from(source(memoryview(data).cast("B")))

    def append_from(self, fill: Callable[[memoryview], int]) -> int:
        begin = self.offset
        with self._context.second_thread.transfer():
            try:
                while count := fill(self.received.room()):
                    if self._closing:
                        raise self._closed()
                    self._checked = None
                    self.received.add(count)
                    if self.received.is_full:
                        self._store()
            finally:
                if not self.received.has_failed and self.received.is_storing_due:
                    self._store()
                self.received.rest()
        return self.offset - begin

    def read_back(self, begin: int = 0, end: int | None = None) -> Iterator[bytes | memoryview]:
        """The bytes from `begin` to `end`, or to the offset. Nothing may be appended meanwhile."""
        return self.received.read_back(begin, end)

    def copy(self, size: int) -> LocalUpload:
        """Return another upload with the first `size` bytes, for the same session. Raises what
        `begin` and `append` raise.
        """
        upload = begin(self._context, self.label, self._begin.algorithm)
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
            return  # for SHA-512 all bytes may have to be read again, which once is enough
        actual = self.received.digest(digest.algorithm)
        if actual != digest:
            raise DigestInvalid(
                f"the content has the digest {actual}, not {digest}, and this upload has ended:"
                " send the blob again in a new one",
                detail=str(digest),
            )
        self._checked = digest

    def _store(self, *, final: bool = False) -> None:
        self.received.store(final=final)
        if self.offset - self._saved_offset >= _SAVE_BYTES:
            self._save_state()

    # ---- state --------------------------------------------------------------------------------
    def save(self) -> None:
        if not self.received.has_failed:
            with self.received.fragile():
                self._files.settle()
        self._save()

    def release(self) -> None:
        try:
            self._save()
        finally:
            # The files of an upload under which the disk failed go with it.
            if self._state_file.is_open and self._state_file.is_void:
                self.cancel()
            self._close()

    def cancel(self) -> None:
        self.received.has_failed = True
        try:
            leftovers.remove_upload(self._context, self.file_id)
        finally:
            self._close()

    def _save(self) -> None:
        if self._state_file.is_open and not self.received.has_failed and not self._closing:
            flags = self._body.flags(self.offset)
            if self.offset != self._saved_offset or flags != self._saved_flags:
                self._save_state()
            self.received.leave_tail()

    def _save_state(self) -> None:
        if self.received.is_tail_too_large:
            self._store()
        states = (self._begin, self._begin.begin, self._body.start)
        named = {state.tail_slot for state in states if state is not None}
        with self.received.fragile():
            tail = self.received.write_tail(named)
            self._state_file.write(self._state(tail))
        self.received.tail_is_saved(tail)
        self._saved_offset, self._saved_flags = self.offset, self._body.flags(self.offset)

    def _state(self, tail: SavedTail) -> UploadState:
        sha256, sha512 = self.received.hash_states()
        return UploadState(
            boot_id=self._context.boot_id,
            label=self.label,
            algorithm=self._begin.algorithm,
            created_at=self._begin.created_at,
            mode=self.mode,
            offset=self.offset,
            sha256=sha256,
            sha512=sha512,
            head=self.received.head if self.mode == "head" else b"",
            pack_size=self.received.position.pack_size,
            parts=self.received.position.parts,
            tail_size=tail.size,
            tail_slot=tail.slot,
            closing=self._closing,
            begin=self._body.start,
            end=self._body.end,
            is_open=self._body.is_open,
            is_told=self._body.is_told,
            started=self._files.started,
            on_disk=self._files.on_disk,
        )

    def _close(self) -> None:
        self._files.close()
        self.received.close()
        self._state_file.close()

    # ---- the commit ---------------------------------------------------------------------------
    def sha256(self) -> Digest:
        """The digest of the bytes so far."""
        return self.received.digest("sha256")

    def finish(self) -> None:
        """Cut the last chunk and put all files on stable storage.

        Only the commit may follow. May be repeated. Cancels the upload if a sync fails.
        """
        if self.mode == "chunked" and not self._closing:
            self._closing = True
            self._store(final=True)
            self._save_state()
        if self.mode == "chunked":
            self.received.write_recipe()
        if self.mode != "head":
            try:
                self._files.sync(self.mode, self.received.data_size)
            except DtrfastError:
                # After a failed sync the content of the disk is unknown: no file of the upload can
                # be trusted.
                self.cancel()
                raise

    def forget(self) -> None:
        """After a commit: remove the files that the index does not own."""
        self.cancel()


def begin(context: StoreContext, label: str, algorithm: str) -> LocalUpload:
    """Begin a new, empty upload. Raises `StorageFull`, and leaves no file then."""
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


def resume(context: StoreContext, label: str, file_id: bytes, wait_seconds: float) -> LocalUpload:
    """Return the upload with its lock held.

    Raises `UploadUnknown`, also for another label or boot, and `UploadBusy` after `wait_seconds`.
    """
    state_file = StateFile.open(context.layout.upload(file_id, "state"), wait_seconds)
    try:
        return LocalUpload(
            context, file_id, state_file, _usable(context, label, file_id, state_file)
        )
    except BaseException:
        state_file.close()
        raise


def _usable(
    context: StoreContext, label: str, file_id: bytes, state_file: StateFile
) -> UploadState:
    """Return the state if the upload can go on.

    Removes an upload whose end a dead process began.
    """
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

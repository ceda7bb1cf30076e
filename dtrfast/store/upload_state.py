"""The state file of an upload: the values with which any worker can go on, and the upload's lock.

The file is written in one system call, without sync. A crash of the program loses nothing of it.
After a crash of the machine the state is invalid, since it names the boot in which it was written.
The lock is advisory and ends with the process that holds it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import struct
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Self

import msgspec
import xxhash

from dtrfast.errors import UploadBusy, UploadUnknown
from dtrfast.machine import disk
from dtrfast.store.blobs import LastBody

Mode = Literal["head", "loose", "chunked"]

_HEAD = struct.Struct("<4sIQ")  # magic, length and XXH3-64 of the payload, which follows
_MAGIC = b"DTRU"
DOUBTED_MAGIC = b"DTRV"  # in place of `_MAGIC`, during each sync
_SIZE_MAX = 1 << 16
_LOCK_POLL_SECONDS = 0.005
# After the state, written without the lock: a generation, and the offset that a client was told.
_GENERATION_SIZE = 8
_TOLD = struct.Struct("<Q")
_TOLD_AT = _SIZE_MAX + _GENERATION_SIZE


class UploadState(msgspec.Struct, frozen=True, array_like=True):
    """An upload between two requests. New fields are appended with a default.

    `sha256`, `sha512`: saved states of the hash functions. `pack_size`, `parts`: see `Position`.
    `tail_size`, `tail_slot`: see `SavedTail`.
    """

    boot_id: str
    label: str
    algorithm: str
    created_at: int
    mode: Mode
    offset: int
    sha256: bytes
    sha512: bytes | None
    head: bytes  # the content, while the mode is head
    pack_size: int
    parts: int
    tail_size: int
    tail_slot: int
    closing: bool  # its last chunk is cut: only the commit may follow
    begin: UploadState | None = None  # at the start of the last body; itself without a `begin`
    end: int | None = None  # the end of that body, if it was announced
    is_open: bool = False  # the last body broke off, or its answer could not be written
    is_told: bool = False  # the client was told of `offset` since
    # Bytes of the loose file or the pack whose write-back was started, and those of them that are
    # known to be on disk.
    started: int = 0
    on_disk: int = 0

    def last_body(self) -> LastBody:
        begin = self.offset if self.begin is None else self.begin.offset
        return LastBody(begin, self.offset, self.end, self.is_open, self.is_told)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(UploadState)


def new_file_id(milliseconds: int) -> bytes:
    """Return a new UUID version 7 (RFC 9562 §5.7). It sorts by time and has 74 random bits."""
    random = secrets.randbits(74)
    value = milliseconds << 80 | 7 << 76 | (random >> 62) << 64 | 2 << 62 | random & ((1 << 62) - 1)
    return value.to_bytes(16, "big")


def milliseconds_of(file_id: bytes) -> int:
    """Return the time at which the id was made, in milliseconds since the epoch."""
    return int.from_bytes(file_id[:6], "big")


def parse_upload_id(text: str) -> bytes:
    """Return the file id for an upload id.

    Raises `UploadUnknown` for text that is not one of ours.
    """
    try:
        identifier = uuid.UUID(text)
    except ValueError:
        raise UploadUnknown("no such upload: begin a new one") from None
    if str(identifier) != text:
        raise UploadUnknown("no such upload: begin a new one")
    return identifier.bytes


class StateFile:
    """An upload's state file, open and locked.

    After the state there are two values that other requests write without the lock. A request that
    wants the upload changes the generation. The other value is the offset that a client was told
    meanwhile.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.is_void = False  # a sync runs, or has failed
        self.is_doubted = False  # when read: a sync failed before, or its process was killed
        self._descriptor = descriptor
        self._generation = b""  # as of `read`, which is called first

    @classmethod
    def create(cls, path: Path) -> Self:
        """Create and lock a new file."""
        descriptor = disk.create(path)
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # waits briefly if the expiry of uploads has it
        return cls(path, descriptor)

    @classmethod
    def open(cls, path: Path, wait_seconds: float) -> Self:
        """Open and lock an existing file.

        Raises `UploadUnknown`, or `UploadBusy` while it is locked.
        """
        try:
            descriptor = disk.open_existing(path, write=True)
        except FileNotFoundError:
            raise UploadUnknown("no such upload: begin a new one") from None
        try:
            _lock(descriptor, time.monotonic() + wait_seconds)
            if os.fstat(descriptor).st_nlink == 0:
                raise UploadUnknown("the upload has ended: begin a new one")
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor)

    @property
    def is_open(self) -> bool:
        return self._descriptor >= 0

    def read(self) -> UploadState | None:
        """Return the state, or None if the file has no complete one. Raises `StorageFailed`."""
        with disk.reported():
            data = os.pread(self._descriptor, _TOLD_AT + _TOLD.size, 0)
        self.is_doubted = _is_doubted(data)
        self._generation = data[_SIZE_MAX:_TOLD_AT]
        state = _parse(data)
        if state is None or len(data) < _TOLD_AT + _TOLD.size:
            return state
        is_told = _TOLD.unpack_from(data, _TOLD_AT)[0] == state.offset
        return msgspec.structs.replace(state, is_told=True) if is_told else state

    def write(self, state: UploadState) -> None:
        if self.is_void:
            raise UploadUnknown("the disk has failed under this upload: begin a new one")
        payload = _encoder.encode(state)
        head = _HEAD.pack(_MAGIC, len(payload), xxhash.xxh3_64_intdigest(payload))
        disk.write_at(self._descriptor, [head + payload], 0)

    def is_recalled(self) -> bool:
        """Return True if `recall` was called since this file was read. Any thread may call it."""
        # Opened by name, since the thread that has the upload may close its descriptor at any time.
        try:
            descriptor = disk.open_existing(self.path)
        except FileNotFoundError:
            return False
        try:
            return _generation(descriptor) != self._generation
        finally:
            os.close(descriptor)

    @contextmanager
    def doubted(self) -> Iterator[None]:
        """Mark the upload as void, and take the mark back after the block succeeded.

        The kernel reports an error of write-back to one call only. So the mark is written before
        the call. It stays if the process dies before the result is known.
        """
        disk.write_at(self._descriptor, [DOUBTED_MAGIC], 0)
        self.is_void = True
        yield
        disk.write_at(self._descriptor, [_MAGIC], 0)
        self.is_void = False

    def close(self) -> None:
        """Close and unlock the file. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def recall(path: Path) -> None:
    """Ask the request that has the lock to release the upload. Raises `UploadUnknown`."""
    _write_behind(path, secrets.token_bytes(_GENERATION_SIZE), _SIZE_MAX)


def tell(path: Path, offset: int) -> None:
    """Record that a request without the lock told the client of `offset`.

    It counts if the upload still has that offset when it is released. Raises `UploadUnknown`.
    """
    _write_behind(path, _TOLD.pack(offset), _TOLD_AT)


def _write_behind(path: Path, data: bytes, offset: int) -> None:
    try:
        descriptor = disk.open_existing(path, write=True)
    except FileNotFoundError:
        raise UploadUnknown("no such upload: begin a new one") from None
    try:
        disk.write_at(descriptor, [data], offset)
    finally:
        os.close(descriptor)


def read_unlocked(path: Path) -> UploadState | None:
    """Return the state as last written, also while a request has the lock.

    None if there is no complete state, or after a failed sync of the upload.
    """
    try:
        data = path.read_bytes()
        if _is_doubted(data):
            at_rest = _read_at_rest(path)
            data = data if at_rest is None else at_rest
    except FileNotFoundError:
        return None
    return _parse(data)


def _is_doubted(data: bytes) -> bool:
    return data.startswith(DOUBTED_MAGIC)


def _read_at_rest(path: Path) -> bytes | None:
    """Return the file's bytes, none if a sync failed; None while a process has the lock, as in a
    sync.
    """
    descriptor = disk.open_existing(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        data = os.pread(descriptor, _SIZE_MAX, 0)
    except BlockingIOError:
        return None
    finally:
        os.close(descriptor)
    return b"" if _is_doubted(data) else data


def _generation(descriptor: int) -> bytes:
    return os.pread(descriptor, _GENERATION_SIZE, _SIZE_MAX)


def _parse(data: bytes) -> UploadState | None:
    if len(data) < _HEAD.size:
        return None
    magic, length, check = _HEAD.unpack_from(data)
    payload = data[_HEAD.size : _HEAD.size + length]
    if (
        magic not in (_MAGIC, DOUBTED_MAGIC)
        or len(payload) != length
        or xxhash.xxh3_64_intdigest(payload) != check
    ):
        return None
    try:
        return _decoder.decode(payload)
    except msgspec.DecodeError:
        return None


def _lock(descriptor: int, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise UploadBusy("another request is writing to this upload: try again") from None
            time.sleep(_LOCK_POLL_SECONDS)
        else:
            return

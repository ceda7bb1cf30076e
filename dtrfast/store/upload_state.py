"""The state file of an upload: what another worker needs to go on, and the lock that lets only one
do so.

It is written without sync, in one system call: a crash of the program loses nothing of it, and
after a crash of the machine it does not count (it names the boot it was written in). The lock is
advisory and ends with its holder.
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

_HEAD = struct.Struct("<4sIQ")  # magic, length and XXH3-64 of what follows
_MAGIC = b"DTRU"
DOUBTED_MAGIC = b"DTRV"  # in place of the other, around each sync
_SIZE_MAX = 1 << 16
_LOCK_POLL_SECONDS = 0.005
# Behind the state, written without the lock: a generation, and the offset that a client was told.
_GENERATION_SIZE = 8
_TOLD = struct.Struct("<Q")
_TOLD_AT = _SIZE_MAX + _GENERATION_SIZE


class UploadState(msgspec.Struct, frozen=True, array_like=True):
    """An upload between two requests. New fields are appended with a default."""

    boot_id: str
    label: str
    algorithm: str
    created_at: int
    mode: Mode
    offset: int
    sha256: bytes
    sha512: bytes | None
    head: bytes  # what was received, while the mode is head
    pack_size: int
    parts: int
    tail_size: int
    tail_slot: int  # which part of the tail file holds it
    closing: bool  # its last chunk is cut: only the commit may follow
    begin: UploadState | None = None  # where the last body began; that one has none itself
    end: int | None = None  # where that body would have ended, if it was announced
    is_open: bool = False  # the last body broke off, or its answer could not be written
    is_told: bool = False  # the client has heard of `offset` since
    # Bytes of the loose file or the pack: those whose write-back was started, and of these those
    # that are known to be on disk.
    started: int = 0
    on_disk: int = 0

    def last_body(self) -> LastBody:
        begin = self.offset if self.begin is None else self.begin.offset
        return LastBody(begin, self.offset, self.end, self.is_open, self.is_told)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(UploadState)


def new_file_id(milliseconds: int) -> bytes:
    """A UUID version 7 (RFC 9562 §5.7): sorts by time, and 74 random bits nobody can guess."""
    random = secrets.randbits(74)
    value = milliseconds << 80 | 7 << 76 | (random >> 62) << 64 | 2 << 62 | random & ((1 << 62) - 1)
    return value.to_bytes(16, "big")


def milliseconds_of(file_id: bytes) -> int:
    """When the id was made."""
    return int.from_bytes(file_id[:6], "big")


def parse_upload_id(text: str) -> bytes:
    """The file id in a client's hands. Raises `UploadUnknown` for what we cannot have given out."""
    try:
        identifier = uuid.UUID(text)
    except ValueError:
        raise UploadUnknown("no such upload: begin a new one") from None
    if str(identifier) != text:
        raise UploadUnknown("no such upload: begin a new one")
    return identifier.bytes


class StateFile:
    """An upload's state file, open and locked.

    Behind the state lies what other requests write without the lock: a generation, changed by the
    one that is to have the upload next, and the offset that a client was told meanwhile.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.is_void = False  # a sync runs, or has failed
        self.is_doubted = False  # a sync had failed, or its process was killed in it, when we read
        self._descriptor = descriptor
        self._generation = b""  # as of `read`, which is the first thing that is done

    @classmethod
    def create(cls, path: Path) -> Self:
        """A new file, locked."""
        descriptor = disk.create(path)
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # whoever looks for expired uploads has it briefly
        return cls(path, descriptor)

    @classmethod
    def open(cls, path: Path, wait_seconds: float) -> Self:
        """An existing one, locked. Raises `UploadUnknown`, or `UploadBusy` while it is held."""
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
        """The state, or None when none was written whole. Raises `StorageFailed`."""
        with disk.reported():
            data = os.pread(self._descriptor, _TOLD_AT + _TOLD.size, 0)
        self.is_doubted = _is_doubted(data)
        self._generation = data[_SIZE_MAX:_TOLD_AT]
        state = _parse(data)
        if state is not None and _told_in(data) == state.offset:
            return msgspec.structs.replace(state, is_told=True)
        return state

    def write(self, state: UploadState) -> None:
        if self.is_void:
            raise UploadUnknown("the disk has failed under this upload: begin a new one")
        payload = _encoder.encode(state)
        head = _HEAD.pack(_MAGIC, len(payload), xxhash.xxh3_64_intdigest(payload))
        disk.write_at(self._descriptor, [head + payload], 0)

    def is_recalled(self) -> bool:
        """True if `recall` was called since this was opened. From any thread."""
        # By name, since the holder's thread may close its descriptor at any time.
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
        """The upload is void until the block has ended well.

        The kernel tells an error of write-back to one call. So it is marked before the call, and
        stays so whatever happens to this process before the outcome is known.
        """
        disk.write_at(self._descriptor, [DOUBTED_MAGIC], 0)
        self.is_void = True
        yield
        disk.write_at(self._descriptor, [_MAGIC], 0)
        self.is_void = False

    def close(self) -> None:
        """Let go. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def recall(path: Path) -> None:
    """Ask the holder of the lock to let go. Raises `UploadUnknown`."""
    _write_behind(path, secrets.token_bytes(_GENERATION_SIZE), _SIZE_MAX)


def tell(path: Path, offset: int) -> None:
    """The client is told that the upload has `offset` bytes, by a request that does not hold it.
    It counts if there are no more when the holder lets go. Raises `UploadUnknown`.
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
    """The state as last written, held or not; None when there is none, or when a sync
    of the upload has failed.
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
    """The file, empty if it is still doubted; None while a process holds it, perhaps in a sync."""
    descriptor = disk.open_existing(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        data = os.pread(descriptor, _SIZE_MAX, 0)
    except BlockingIOError:
        return None
    finally:
        os.close(descriptor)
    return b"" if _is_doubted(data) else data


def _told_in(data: bytes) -> int | None:
    """The offset that a client was told while another request held the upload."""
    if len(data) < _TOLD_AT + _TOLD.size:
        return None
    offset: int = _TOLD.unpack_from(data, _TOLD_AT)[0]
    return offset


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

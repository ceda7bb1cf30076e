"""A place for backups: objects by name, in a directory or a bucket."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from pathlib import Path
from typing import Self

from dtrfast.backup.bucket import Bucket, no_conditions
from dtrfast.backup.directory import BackupDirectory, ObjectInfo
from dtrfast.errors import BackupFailed, Unreadable
from dtrfast.outgoing.permit import DIRECT, OutgoingPolicy

# A bucket keeps a larger object as several pieces, NAME.00000 and so on, so a failed PUT repeats at
# most this many bytes. Directories are read in the same way, since one may be a copy of a bucket.
PIECE_SIZE = 16 << 20
_match_piece = re.compile(r"(files/.+)\.[0-9]{5,}").fullmatch
_BUCKET = "s3://"


class BackupPlace:
    """A directory, or `s3://BUCKET/PREFIX` with the usual AWS environment variables.

    Safe to use from several threads. All methods raise `BackupFailed`.
    """

    def __init__(self, text: str, outgoing: OutgoingPolicy = DIRECT) -> None:
        """Open a place by its directory or URL. Makes the directory unless it exists."""
        self._at = _open(text, outgoing)
        self.text = text
        if isinstance(self._at, BackupDirectory):
            self._at.make()

    @classmethod
    def existing(cls, text: str, outgoing: OutgoingPolicy = DIRECT) -> Self:
        """Open a place that must exist."""
        self = cls.__new__(cls)
        self._at = _open(text, outgoing)
        self.text = text
        if self.is_local and not Path(text).is_dir():
            raise BackupFailed(f"there is no directory {text}")
        return self

    @property
    def is_local(self) -> bool:
        """True if the place is a directory."""
        return isinstance(self._at, BackupDirectory)

    def is_split(self, size: int) -> bool:
        """Return True if the place keeps an object of `size` bytes in pieces."""
        return not self.is_local and size > PIECE_SIZE

    def put(self, name: str, content: bytes) -> None:
        """Write an object completely, or not at all."""
        if isinstance(self._at, BackupDirectory):
            self._at.put(name, [content])
        else:
            self._at.put(name, content)

    def put_stream(self, name: str, pieces: Iterator[bytes], size: int) -> None:
        """Write an object of about `size` bytes from pieces. Passes on exceptions of `pieces`."""
        if isinstance(self._at, BackupDirectory):
            self._at.put(name, pieces)
            return
        if not self.is_split(size):
            self._at.put(name, b"".join(pieces))
            return
        for number, data in enumerate(_in_pieces(pieces)):
            self._at.put(_piece_of(name, number), data)

    def create(self, name: str, content: bytes) -> bool:
        """Write an object unless it exists. Returns False if it exists."""
        return self._at.create(name, content)

    def create_once(self, name: str, content: bytes) -> None:
        """Write an object unless it exists. Raises `BackupFailed` if the place replaces existing
        objects all the same.
        """
        if self.create(name, content) and self.create(name, content):
            self.delete([name])
            raise BackupFailed(no_conditions(self.text))

    def read(self, name: str, size_max: int) -> bytes | None:
        """Return an object's bytes; None if it does not exist.

        Raises `Corrupt` if it has more than `size_max` bytes, and `Unreadable` if the directory can
        be read but this object cannot.
        """
        try:
            return b"".join(self._at.stream(name, size_max))
        except FileNotFoundError:
            return None
        except BackupFailed as error:
            if isinstance(self._at, BackupDirectory) and self._at.is_reachable():
                raise Unreadable(str(error)) from error
            raise

    def stream(self, name: str, size_max: int | None = None) -> Iterator[bytes]:
        """Yield an object's bytes, whether it is kept whole or in pieces. Raises `Corrupt` if it
        has more than `size_max` bytes.
        """
        try:
            yield from self._at.stream(name, size_max)
        except FileNotFoundError:
            yield from self._stream_pieces(name)

    def _stream_pieces(self, name: str) -> Iterator[bytes]:
        for number in count():
            try:
                yield from self._at.stream(_piece_of(name, number))
            except FileNotFoundError:
                if not number:
                    raise BackupFailed(f"{name} is missing") from None
                return

    def found(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield all objects below a prefix, which ends in a slash. Pieces have their own names."""
        return self._at.found(prefix)

    def others(self, folder: str) -> Iterator[str]:
        """Yield the names of the entries of a folder that are not objects. Buckets have none."""
        return self._at.others(folder) if isinstance(self._at, BackupDirectory) else iter(())

    def delete(self, names: list[str]) -> None:
        """Delete objects. Missing objects are ignored."""
        self._at.delete(names)

    def delete_unfinished(self, before: float) -> None:
        """Delete unfinished files that are older than a time in seconds since the epoch. Buckets
        have none.
        """
        if isinstance(self._at, BackupDirectory):
            self._at.delete_unfinished(before)

    def synced(self) -> AbstractContextManager[None]:
        """Sync at the end of the block, so that all objects written in it survive a power cut."""
        return self._at.synced() if isinstance(self._at, BackupDirectory) else nullcontext()


def whole_name(name: str) -> str:
    """Return the name of the object that an entry is, or is a piece of."""
    match = _match_piece(name)
    return match[1] if match else name


def _piece_of(name: str, number: int) -> str:
    return f"{name}.{number:05d}"


def _in_pieces(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in pieces of PIECE_SIZE; the last one may be smaller."""
    held: list[bytes] = []
    size = 0
    for part in parts:
        held.append(part)
        size += len(part)
        while size >= PIECE_SIZE:
            data = b"".join(held)
            yield data[:PIECE_SIZE]
            held, size = [data[PIECE_SIZE:]], size - PIECE_SIZE
    if size:
        yield b"".join(held)


def _open(text: str, outgoing: OutgoingPolicy) -> BackupDirectory | Bucket:
    if text.startswith(_BUCKET):
        return Bucket(text, outgoing)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        raise BackupFailed(
            f"{text} is not a place for backups: name a directory or s3://BUCKET/PREFIX"
        )
    if not text or "\0" in text:
        raise BackupFailed("name a directory or s3://BUCKET/PREFIX for the backups")
    return BackupDirectory(Path(text))

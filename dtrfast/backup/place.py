"""A place for backups: objects by name, in a directory or a bucket."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from pathlib import Path
from typing import Self

from dtrfast.backup.bucket import Bucket, no_conditions
from dtrfast.backup.directory import Directory, Found
from dtrfast.errors import BackupFailed, Unreadable
from dtrfast.outgoing.permit import DIRECT, Outgoing

# A larger object is kept in a bucket as several, NAME.00000 and so on: what a PUT may have to send
# once more. The reader takes them from a directory too, which may be a copy of the bucket.
PIECE_SIZE = 16 << 20
_match_piece = re.compile(r"(files/.+)\.[0-9]{5,}").fullmatch
_BUCKET = "s3://"


class Place:
    """A directory, or `s3://BUCKET/PREFIX` with the usual AWS variables. Safe from several threads.
    All methods raise `BackupFailed`.
    """

    def __init__(self, text: str, outgoing: Outgoing = DIRECT) -> None:
        """A directory is made."""
        self._at = _open(text, outgoing)
        self.text = text
        if isinstance(self._at, Directory):
            self._at.make()

    @classmethod
    def existing(cls, text: str, outgoing: Outgoing = DIRECT) -> Self:
        """One that must be there."""
        self = cls.__new__(cls)
        self._at = _open(text, outgoing)
        self.text = text
        if self.is_local and not Path(text).is_dir():
            raise BackupFailed(f"there is no directory {text}")
        return self

    @property
    def is_local(self) -> bool:
        return isinstance(self._at, Directory)

    def is_split(self, size: int) -> bool:
        """Return True for objects that are kept in pieces here."""
        return not self.is_local and size > PIECE_SIZE

    def put(self, name: str, content: bytes) -> None:
        """Write an object whole, or not at all."""
        if isinstance(self._at, Directory):
            self._at.put(name, [content])
        else:
            self._at.put(name, content)

    def put_stream(self, name: str, pieces: Iterator[bytes], size: int) -> None:
        """Write an object of about `size` bytes from pieces; what they raise passes through."""
        if isinstance(self._at, Directory):
            self._at.put(name, pieces)
            return
        if not self.is_split(size):
            self._at.put(name, b"".join(pieces))
            return
        for number, data in enumerate(_in_pieces(pieces)):
            self._at.put(_piece_of(name, number), data)

    def create(self, name: str, content: bytes) -> bool:
        """Write an object if it is not there; False if it is."""
        return self._at.create(name, content)

    def create_once(self, name: str, content: bytes) -> None:
        """As `create`, and prove that the place does not replace what is there."""
        if self.create(name, content) and self.create(name, content):
            self.delete([name])
            raise BackupFailed(no_conditions(self.text))

    def read(self, name: str, size_max: int) -> bytes | None:
        """An object's bytes; None when it is not there. Raises `Corrupt` if it is larger than that,
        and `Unreadable` if a directory gives other objects, but not this one.
        """
        try:
            return b"".join(self._at.stream(name, size_max))
        except FileNotFoundError:
            return None
        except BackupFailed as error:
            if isinstance(self._at, Directory) and self._at.is_reachable():
                raise Unreadable(str(error)) from error
            raise

    def stream(self, name: str, size_max: int | None = None) -> Iterator[bytes]:
        """An object's bytes in pieces, however it is kept. Raises `Corrupt` if it is larger than
        that.
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
                    raise BackupFailed(f"{name} is gone") from None
                return

    def found(self, prefix: str) -> Iterator[Found]:
        """All objects below a prefix, which ends in a slash; pieces by their own names."""
        return self._at.found(prefix)

    def others(self, folder: str) -> Iterator[str]:
        """Names of entries of a folder that are no objects. A bucket has none."""
        return self._at.others(folder) if isinstance(self._at, Directory) else iter(())

    def delete(self, names: list[str]) -> None:
        """Delete objects; those that are not there are fine."""
        self._at.delete(names)

    def delete_unfinished(self, before: float) -> None:
        """Delete what was left half written at a time before that. Buckets never show such."""
        if isinstance(self._at, Directory):
            self._at.delete_unfinished(before)

    def synced(self) -> AbstractContextManager[None]:
        """At the end of the block all that was written in it survives a power cut."""
        return self._at.synced() if isinstance(self._at, Directory) else nullcontext()


def whole_name(name: str) -> str:
    """The name of the object that NAME is, or is a piece of."""
    match = _match_piece(name)
    return match[1] if match else name


def _piece_of(name: str, number: int) -> str:
    return f"{name}.{number:05d}"


def _in_pieces(parts: Iterator[bytes]) -> Iterator[bytes]:
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


def _open(text: str, outgoing: Outgoing) -> Directory | Bucket:
    if text.startswith(_BUCKET):
        return Bucket(text, outgoing)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        raise BackupFailed(
            f"{text} is no place for backups: name a directory or s3://BUCKET/PREFIX"
        )
    if not text or "\0" in text:
        raise BackupFailed("name a directory or s3://BUCKET/PREFIX for the backups")
    return Directory(Path(text))

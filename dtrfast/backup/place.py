"""Where backups are kept: objects by name, in a directory or a bucket.

The only module that imports `obstore`, which speaks to S3 and to file systems alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from dtrfast.errors import BackupFailed

if TYPE_CHECKING:
    from obstore.store import ClientConfig

_READ_SIZE = 1 << 20
_DELETED_MAX = 500  # S3 takes a thousand
# A part of 8 MiB on a line of 32 kB/s; the library's own limit is 30 s.
_TIMEOUT = timedelta(minutes=5)
_PART_SIZE_MIN = 8 << 20
_PARTS_MAX = 9_000  # of an object; S3 takes ten thousand
# Made first, so that they are nobody else's, whoever may look into the directory.
_FOLDERS = ("files", "rows", "snapshots", "logs", "leases")


@dataclass(frozen=True, slots=True)
class Found:
    """An object that is there. `modified_at` is in seconds since the epoch."""

    name: str
    size: int
    modified_at: float


class Place:
    """A directory, or `s3://BUCKET/PREFIX` with the usual AWS variables. One thread."""

    def __init__(self, text: str) -> None:
        """Raises `BackupFailed` when it cannot be one. A directory is made."""
        self.is_local = not text.startswith("s3://")
        with _reported(text):
            if self.is_local:
                # Hashes of passwords and keys that sign tokens come here: they are nobody else's.
                for folder in ("", *_FOLDERS):
                    (Path(text) / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
                self._store: LocalStore | S3Store = LocalStore(Path(text).absolute())
            else:
                options: ClientConfig = {"timeout": _TIMEOUT, "allow_http": _is_plain_http()}
                self._store = S3Store.from_url(text, client_options=options)
        self.text = text

    @classmethod
    def existing(cls, text: str) -> Self:
        """One that must be there. Raises `BackupFailed`."""
        if not text.startswith("s3://") and not Path(text).is_dir():
            raise BackupFailed(f"there is no directory {text}")
        return cls(text)

    def put(self, name: str, content: bytes | Path) -> None:
        """Write an object whole, or not at all."""
        with _reported(name):
            obstore.put(self._store, name, content)

    def put_stream(self, name: str, pieces: Iterator[bytes], size: int) -> None:
        """Write an object of about `size` bytes from pieces; what they raise passes through."""
        part = max(_PART_SIZE_MIN, -(-size // _PARTS_MAX))
        failed: list[Exception] = []

        def watched() -> Iterator[bytes]:
            try:
                yield from pieces
            except Exception as error:
                failed.append(error)
                raise

        try:
            with _reported(name):
                obstore.put(self._store, name, watched(), chunk_size=part, max_concurrency=2)
        except BackupFailed:
            if failed:
                raise failed[0] from None
            raise

    def create(self, name: str, content: bytes) -> bool:
        """Write an object if it is not there; False if it is."""
        with _reported(name):
            try:
                obstore.put(self._store, name, content, mode="create")
            except FileExistsError:
                return False
            except BaseError as error:
                if "AlreadyExists" in type(error).__name__:
                    return False
                raise
        return True

    def read(self, name: str) -> bytes | None:
        """An object's bytes; None when it is not there."""
        with _reported(name):
            try:
                return bytes(obstore.get(self._store, name).bytes())
            except FileNotFoundError:
                return None

    def stream(self, name: str) -> Iterator[bytes]:
        """An object's bytes in pieces. Raises `BackupFailed` when it is not there."""
        with _reported(name):
            for piece in obstore.get(self._store, name).stream(min_chunk_size=_READ_SIZE):
                yield bytes(piece)

    def found(self, prefix: str) -> Iterator[Found]:
        """All objects below a prefix, which ends in a slash."""
        with _reported(prefix):
            for batch in obstore.list(self._store, prefix):
                for meta in batch:
                    yield Found(meta["path"], meta["size"], meta["last_modified"].timestamp())

    def delete(self, names: list[str]) -> None:
        """Delete objects; those that are not there are fine."""
        for first in range(0, len(names), _DELETED_MAX):
            with _reported("objects"):
                try:
                    obstore.delete(self._store, names[first : first + _DELETED_MAX])
                except FileNotFoundError:
                    for name in names[first : first + _DELETED_MAX]:
                        self._delete_one(name)

    def settle(self) -> None:
        """Return when all that was written survives a power cut."""
        if self.is_local:
            os.sync()

    def _delete_one(self, name: str) -> None:
        with suppress(FileNotFoundError):
            obstore.delete(self._store, name)


def _is_plain_http() -> bool:
    return os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")


@contextmanager
def _reported(name: str) -> Iterator[None]:
    """Turn what a place says into `BackupFailed`."""
    try:
        yield
    except (BaseError, OSError) as error:
        first = str(error).strip().partition("\n")[0]
        raise BackupFailed(f"{name}: {first}") from error

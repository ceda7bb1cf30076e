"""Objects in a directory: a file for each, written under another name and renamed.

A file that is being written is called NAME#NUMBER. Listings do not show it.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dtrfast.errors import BackupFailed, Corrupt, DtrfastError, StorageFailed, StorageFull
from dtrfast.machine import disk
from dtrfast.machine.write_back import write_paced

_READ_SIZE = 1 << 20
MARKER = "dtrfast-backup"  # the only object beside the folders
SNAPSHOTS = "snapshots/"
# Made first: hashes of passwords and keys that sign tokens come here, and no other user may look.
_FOLDERS = ("files", "rows", "snapshots", "logs", "leases")
_ADVICE = ": make it a file that can be read, or delete it and back up again"
_match_unfinished = re.compile(r".+#[0-9]+").fullmatch


@dataclass(frozen=True, slots=True)
class Found:
    """An object that is there. `modified_at` is in seconds since the epoch."""

    name: str
    size: int
    modified_at: float


class Directory:
    """Safe from several threads and several programs. All methods raise `BackupFailed`."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def make(self) -> None:
        """Make the directory and its folders where they are missing."""
        with _reported(str(self._root)):
            for folder in ("", *_FOLDERS):
                (self._root / folder).mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write a file whole, or not at all. What `pieces` raise passes through."""
        with self._written(name, pieces) as temporary, _reported(name):
            temporary.replace(self._root / name)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file if it is not there; False if it is."""
        path = self._root / name
        with self._written(name, [content]) as temporary, _reported(name):
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            except OSError:  # FAT has no hard links
                return _create_in_place(path, content)
        return True

    def stream(self, name: str, size_max: int | None = None) -> Iterator[bytes]:
        """A file's bytes in pieces. The first step raises `FileNotFoundError` if there is none, and
        `Corrupt` if it is larger than that.
        """
        opened = _opened(self._root / name)
        with _reported(name, FileNotFoundError, _ADVICE), opened as descriptor:
            check_size(name, os.fstat(descriptor).st_size, size_max)
            while data := os.read(descriptor, _READ_SIZE):
                yield data

    def found(self, prefix: str) -> Iterator[Found]:
        """All whole objects below a folder."""
        for path, status in self._files(prefix):
            if not _match_unfinished(path.name):
                name = path.relative_to(self._root).as_posix()
                yield Found(name, status.st_size, status.st_mtime)

    def others(self, folder: str) -> Iterator[str]:
        """Names of entries of a folder that are no files: links, pipes, folders."""
        with _reported(folder), suppress(FileNotFoundError):
            for name in os.listdir(self._root / folder):
                with suppress(FileNotFoundError):  # deleted meanwhile
                    if not stat.S_ISREG((self._root / folder / name).lstat().st_mode):
                        yield folder + name

    def is_reachable(self) -> bool:
        """Return False when the directory is gone, or its disk does not answer."""
        try:
            os.listdir(self._root / SNAPSHOTS)
        except OSError:
            return False
        return True

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            with _reported(name), suppress(FileNotFoundError):
                (self._root / name).unlink()

    def delete_unfinished(self, before: float) -> None:
        """Delete what programs that were killed left half written, if it is older than that."""
        for folder in _FOLDERS:
            for path, status in self._files(folder):
                if _match_unfinished(path.name) and status.st_mtime < before:
                    self._unlink(path)
        for path in self._root.glob(f"{MARKER}#*"):
            if _match_unfinished(path.name) and path.lstat().st_mtime < before:
                self._unlink(path)

    def _unlink(self, path: Path) -> None:
        self.delete([path.relative_to(self._root).as_posix()])

    def _files(self, folder: str) -> Iterator[tuple[Path, os.stat_result]]:
        for directory, _, names in os.walk(self._root / folder, onerror=_raise_unless_missing):
            for name in names:
                path = Path(directory, name)
                with _reported(str(path)):
                    try:
                        status = path.lstat()
                    except FileNotFoundError:  # deleted meanwhile
                        continue
                if stat.S_ISREG(status.st_mode):
                    yield path, status

    @contextmanager
    def synced(self) -> Iterator[None]:
        """At the end of the block all that was written in it survives a power cut."""
        try:
            with disk.synced(self._root):
                yield
        except (StorageFull, StorageFailed) as error:
            raise BackupFailed(f"{self._root}: {_reason(error)}") from error

    @contextmanager
    def _written(self, name: str, pieces: Iterable[bytes]) -> Iterator[Path]:
        """A file with that content beside NAME, which is gone afterwards."""
        path = self._root / name
        temporary = path.with_name(f"{path.name}#{uuid.uuid4().int}")
        try:
            with _reported(name):
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                descriptor = _create(temporary)
            try:
                write_paced(descriptor, pieces)
            except (StorageFull, StorageFailed) as error:
                raise BackupFailed(f"{name}: {_reason(error)}") from error
            finally:
                os.close(descriptor)
            yield temporary
        finally:
            with suppress(OSError):
                temporary.unlink()


def check_size(name: str, size: int, size_max: int | None) -> None:
    """Raise `Corrupt` for an object that is too large to be read."""
    if size_max is not None and size > size_max:
        raise Corrupt(f"{name} has {size:,} bytes, and {size_max:,} is the most that it can have")


def _raise_unless_missing(error: OSError) -> None:
    """Let a folder that cannot be listed be an error: its objects would look deleted."""
    if not isinstance(error, FileNotFoundError):
        raise BackupFailed(f"{error.filename}: {error.strerror}") from error


def _reason(error: DtrfastError) -> str:
    """The words of the operating system."""
    cause = error.__cause__
    return str(cause.strerror if isinstance(cause, OSError) else error)


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _create_in_place(path: Path, content: bytes) -> bool:
    try:
        descriptor = _create(path)
    except FileExistsError:
        return False
    try:
        _write(descriptor, content)
    finally:
        os.close(descriptor)
    return True


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A descriptor to read from. A link could lead anywhere, and a pipe would never end."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise OSError(errno.ELOOP, "it is a link") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no plain file")
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _reported(
    name: str, passing: type[OSError] | tuple[()] = (), advice: str = ""
) -> Iterator[None]:
    """Turn what the operating system says into `BackupFailed`; `passing` stays as it is."""
    try:
        yield
    except passing:
        raise
    except OSError as error:
        raise BackupFailed(f"{name}: {error.strerror}{advice}") from error

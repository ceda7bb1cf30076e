"""Objects in a directory. Each is a file, which is written under another name and then renamed.

A file that is being written is called NAME#NUMBER. Lists of objects leave it out.
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
# These are made first, since no other user may read them: backups have password hashes and the keys
# that sign tokens.
_FOLDERS = ("files", "rows", "snapshots", "logs", "leases")
_ADVICE = ": make it a file that can be read, or delete it and back up again"
_match_unfinished = re.compile(r".+#[0-9]+").fullmatch


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object of a place. `size` is in bytes, `modified_at` in seconds since the epoch."""

    name: str
    size: int
    modified_at: float


class BackupDirectory:
    """A directory of objects. Safe to use from several threads and several programs.

    All methods raise `BackupFailed`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def make(self) -> None:
        """Make the directory and its folders, unless they exist."""
        with _reported(str(self._root)):
            for folder in ("", *_FOLDERS):
                (self._root / folder).mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write a file completely, or not at all. Passes on exceptions of `pieces`."""
        with self._written(name, pieces) as temporary, _reported(name):
            temporary.replace(self._root / name)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless it exists. Returns False if it exists."""
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
        """Yield a file's bytes in pieces. The first step raises `FileNotFoundError` if there is no
        such file, and `Corrupt` if it has more than `size_max` bytes.
        """
        opened = _opened(self._root / name)
        with _reported(name, FileNotFoundError, _ADVICE), opened as descriptor:
            check_size(name, os.fstat(descriptor).st_size, size_max)
            while data := os.read(descriptor, _READ_SIZE):
                yield data

    def found(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield all complete objects below a folder."""
        for path, status in self._files(prefix):
            if not _match_unfinished(path.name):
                name = path.relative_to(self._root).as_posix()
                yield ObjectInfo(name, status.st_size, status.st_mtime)

    def others(self, folder: str) -> Iterator[str]:
        """Yield the names of the entries of a folder that are not files: links, pipes, folders."""
        with _reported(folder), suppress(FileNotFoundError):
            for name in os.listdir(self._root / folder):
                with suppress(FileNotFoundError):  # deleted meanwhile
                    if not stat.S_ISREG((self._root / folder / name).lstat().st_mode):
                        yield folder + name

    def is_reachable(self) -> bool:
        """Return False if the directory is missing or its disk does not answer."""
        try:
            os.listdir(self._root / SNAPSHOTS)
        except OSError:
            return False
        return True

    def delete(self, names: Iterable[str]) -> None:
        """Delete files. Missing files are ignored."""
        for name in names:
            with _reported(name), suppress(FileNotFoundError):
                (self._root / name).unlink()

    def delete_unfinished(self, before: float) -> None:
        """Delete files that killed programs left unfinished, if they are older than a time in
        seconds since the epoch.
        """
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
        """Sync at the end of the block, so that all files written in it survive a power cut."""
        try:
            with disk.synced(self._root):
                yield
        except (StorageFull, StorageFailed) as error:
            raise BackupFailed(f"{self._root}: {_reason(error)}") from error

    @contextmanager
    def _written(self, name: str, pieces: Iterable[bytes]) -> Iterator[Path]:
        """Write a temporary file beside NAME for the length of the block."""
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
        raise Corrupt(f"{name} has {size:,} bytes, but can have {size_max:,} at most")


def _raise_unless_missing(error: OSError) -> None:
    """Raise `BackupFailed` for a folder that cannot be listed: its objects would look deleted."""
    if not isinstance(error, FileNotFoundError):
        raise BackupFailed(f"{error.filename}: {error.strerror}") from error


def _reason(error: DtrfastError) -> str:
    """Return the operating system's message, if it caused the error."""
    cause = error.__cause__
    return str(cause.strerror if isinstance(cause, OSError) else error)


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _create_in_place(path: Path, content: bytes) -> bool:
    """Write a file unless it exists, without a temporary file: for file systems without links."""
    try:
        descriptor = _create(path)
    except FileExistsError:
        return False
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)
    return True


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a plain file for reading. A link could point at any file, and a pipe never ends."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise OSError(errno.ELOOP, "it is a symbolic link") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a plain file")
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _reported(
    name: str, passing: type[OSError] | tuple[()] = (), advice: str = ""
) -> Iterator[None]:
    """Raise `BackupFailed` in place of OSError, except for `passing`."""
    try:
        yield
    except passing:
        raise
    except OSError as error:
        raise BackupFailed(f"{name}: {error.strerror}{advice}") from error

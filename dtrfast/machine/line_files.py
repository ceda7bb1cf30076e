"""Lines in a few files of one directory, which all processes of a server append to.

Together the files take no more than a bound, but for what processes write at the very moment at
which a file is full (`_WRITE_SIZE_MAX` each): where the newest has no room a new one begins, and
the oldest goes. Whole lines are written at a time with O_APPEND, so lines of two processes never
mix. Places in them are told by cursors, `FILE-OFFSET`.

A directory may have several series of such files, whose names begin with a digit of their own. The
series without one is the empty text.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from dtrfast.errors import PageInvalid
from dtrfast.machine.paths import line_file

FILES = 16
_BLOCK_SIZE = 256 << 10
_WRITE_SIZE_MAX = 256 << 10
# After the last line of a file that is not the newest, another process may still be writing one.
_LATE_SECONDS = 2.0


class LineFiles:
    """Appends to one series of a directory. One thread. `size_max` is for all its files."""

    def __init__(self, directory: Path, size_max: int, series: str = "") -> None:
        self._directory = directory
        self._series = series
        self._file_size_max = max(1, size_max // FILES)
        self._descriptor = -1
        self._number = 0
        self._is_torn = False  # the last write was cut short: a disk that was full

    def append(self, data: bytes) -> None:
        """Whole lines. Raises OSError."""
        for piece in _pieces(data, min(_WRITE_SIZE_MAX, self._file_size_max)):
            self._write(piece)

    def _write(self, data: bytes) -> None:
        self._open(len(data))
        if self._is_torn:
            data = b"\n" + data
        while data:
            written = os.write(self._descriptor, data)
            self._is_torn = not data[:written].endswith(b"\n")
            data = data[written:]

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self, size: int) -> None:
        """Let the newest file be open, and have room for so many bytes."""
        newest = max(_numbers(self._directory, self._series), default=0)
        if self._descriptor < 0 or newest != self._number:
            is_sound = newest and _ends_well(self._path(newest))
            self._begin(newest if is_sound else newest + 1)
        used = os.fstat(self._descriptor).st_size
        if used and used + size > self._file_size_max:
            self._begin(self._number + 1)
        for number in sorted(_numbers(self._directory, self._series))[:-FILES]:
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                self._path(number).unlink()

    def _begin(self, number: int) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path(number), flags, 0o600)
        self.close()
        self._descriptor, self._number, self._is_torn = descriptor, number, False

    def _path(self, number: int) -> Path:
        return line_file(self._directory, number, self._series)


def _pieces(data: bytes, size_max: int) -> Iterator[bytes]:
    """`data` in pieces of whole lines; one line may be longer than the most."""
    begin = 0
    while begin < len(data):
        end = data.rfind(b"\n", begin, begin + size_max) + 1
        if len(data) - begin <= size_max:
            end = len(data)
        elif end == 0:
            end = (data.find(b"\n", begin) + 1) or len(data)
        yield data[begin:end]
        begin = end


def lines_before(directory: Path, cursor: str, series: str = "") -> Iterator[tuple[str, bytes]]:
    """Cursors and lines, the newest first; with a cursor those before it. Raises `PageInvalid`."""
    before = _parse_cursor(cursor)
    for number in sorted(_numbers(directory, series), reverse=True):
        if before is not None and number > before[0]:
            continue
        end = before[1] if before is not None and number == before[0] else None
        with (
            contextlib.suppress(FileNotFoundError),  # it went with the oldest lines
            line_file(directory, number, series).open("rb") as file,
        ):
            for start, line in _backwards(file.fileno(), end):
                yield f"{number}-{start}", line


def lines_after(directory: Path, cursor: str, size_max: int) -> tuple[list[bytes], str]:
    """Lines behind a cursor, the oldest first, and the cursor behind those. Raises `PageInvalid`.

    Reads at most `size_max` bytes, which is more than any line has. A line that is not whole yet is
    left for the next time. Where the cursor's file is gone it goes on with the oldest one.
    """
    numbers = sorted(_numbers(directory))
    place = _parse_cursor(cursor) or (0, 0)
    if numbers and place[0] > numbers[-1]:
        place = (0, 0)  # somebody emptied the directory, and numbers begin again
    lines: list[bytes] = []
    left = size_max
    for number in (n for n in numbers if n >= place[0]):
        offset = place[1] if number == place[0] else 0
        data = _read(line_file(directory, number), offset, left)
        whole = data[: data.rfind(b"\n") + 1]
        lines += [line for line in whole.split(b"\n") if line]
        place = (number, offset + len(whole))
        # The file goes on, or may do so.
        if len(data) == left or (number < numbers[-1] and _is_late(line_file(directory, number))):
            break
        left -= len(whole)
    return lines, f"{place[0]}-{place[1]}"


def end_cursor(directory: Path, series: str = "") -> str:
    """The cursor behind all whole lines: one that is just being written is for the next time."""
    newest = max(_numbers(directory, series), default=0)
    try:
        with line_file(directory, newest, series).open("rb") as file:
            return f"{newest}-{_whole_size(file.fileno())}"
    except FileNotFoundError:
        return f"{newest}-0"


def _is_late(path: Path) -> bool:
    """Whether a file was just written to: a line may still come although there is a newer file."""
    try:
        return 0 <= time.time() - path.stat().st_mtime < _LATE_SECONDS
    except FileNotFoundError:
        return False


def _read(path: Path, offset: int, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            is_there = offset < os.fstat(file.fileno()).st_size  # a cursor may be made up
            return os.pread(file.fileno(), size, offset) if is_there else b""
    except FileNotFoundError:
        return b""


def _whole_size(descriptor: int) -> int:
    """How many bytes of a file its whole lines take."""
    position = os.fstat(descriptor).st_size
    while position > 0:
        begin = max(0, position - _BLOCK_SIZE)
        found = os.pread(descriptor, position - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        position = begin
    return 0


def trim(directory: Path, size_max: int) -> bool:
    """Remove the oldest files of the series without a digit while all series together take more
    than `size_max`. Returns whether it has files left.
    """
    paths = [line_file(directory, number) for number in sorted(_numbers(directory))]
    if not paths:
        return False
    size = sum(_size(path) for path in directory.glob("*.jsonl"))
    while paths and size > size_max:
        size -= _size(paths[0])
        paths.pop(0).unlink(missing_ok=True)
    return bool(paths)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _numbers(directory: Path, series: str = "") -> list[int]:
    paths = directory.glob(f"{series}????????.jsonl")
    return [int(path.stem[len(series) :]) for path in paths if path.stem.isdigit()]


def _ends_well(path: Path) -> bool:
    """Whether the file ends with a whole line: it does not after a power cut."""
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return True
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
    except FileNotFoundError:
        return False


def _backwards(descriptor: int, end: int | None) -> Iterator[tuple[int, bytes]]:
    """Offsets and lines of a file from its end, or from `end`, to its begin."""
    size = os.fstat(descriptor).st_size
    position = size if end is None else min(end, size)  # a cursor may be made up
    rest = b""
    while position > 0:
        size = min(_BLOCK_SIZE, position)
        position -= size
        block = os.pread(descriptor, size, position) + rest
        first, *lines = block.split(b"\n")
        offset = position + len(block)
        for line in reversed(lines):
            offset -= len(line)
            if line:
                yield offset, line
            offset -= 1
        rest = first
    if rest:
        yield 0, rest


def _parse_cursor(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    number, _, offset = text.partition("-")
    if not (number.isdecimal() and offset.isdecimal() and len(text) < 40 and text.isascii()):
        raise PageInvalid("this is no cursor of an earlier page")
    return int(number), int(offset)

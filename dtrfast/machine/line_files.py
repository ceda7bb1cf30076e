"""Rotated line files in one directory, to which all processes of a server append.

If the newest file is full, the next write begins a new file and removes the oldest one. So the
files together keep a size bound. Processes that write just when a file becomes full may exceed it
by `_WRITE_SIZE_MAX` each. Each write has whole lines and uses O_APPEND, so lines of two processes
never mix. A cursor, `FILE-OFFSET`, names a position in the files.

A directory may have several series of such files. The file names of a series begin with its digit;
the series without a digit is the empty string.
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
# For so long after the last write to an older file, another process may still append to it.
_LATE_SECONDS = 2.0


class LineFiles:
    """Appends to one series of a directory. For one thread.

    `size_max` is the bound in bytes of all files of the series together.
    """

    def __init__(self, directory: Path, size_max: int, series: str = "") -> None:
        self._directory = directory
        self._series = series
        self._file_size_max = max(1, size_max // FILES)
        self._descriptor = -1
        self._number = 0
        self._is_torn = False  # the last write was cut short, for example by a full disk

    def append(self, data: bytes) -> None:
        """Append whole lines. Raises OSError."""
        for piece in _pieces(data, min(_WRITE_SIZE_MAX, self._file_size_max)):
            self._open(len(piece))
            rest = b"\n" + piece if self._is_torn else piece
            while rest:
                written = os.write(self._descriptor, rest)
                self._is_torn = not rest[:written].endswith(b"\n")
                rest = rest[written:]

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self, size: int) -> None:
        """Open the newest file, or a new one if the newest has no room for `size` bytes."""
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
    """Yield `data` in pieces of whole lines. A piece exceeds `size_max` only if one line does."""
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
    """Yield lines and their cursors, the newest first. With a cursor, yield the lines before it.

    Raises `PageInvalid`.
    """
    before = _parse_cursor(cursor)
    for number in sorted(_numbers(directory, series), reverse=True):
        if before is not None and number > before[0]:
            continue
        end = before[1] if before is not None and number == before[0] else None
        with (
            contextlib.suppress(FileNotFoundError),  # rotation removed it
            line_file(directory, number, series).open("rb") as file,
        ):
            for start, line in _backwards(file.fileno(), end):
                yield f"{number}-{start}", line


def lines_after(directory: Path, cursor: str, size_max: int) -> tuple[list[bytes], str]:
    """Return the lines after a cursor, the oldest first, and the cursor after them.

    Reads at most `size_max` bytes, which must be more than the longest line. An incomplete line is
    left for the next call. If the cursor's file is gone, reading goes on with the oldest file.
    Raises `PageInvalid`.
    """
    numbers = sorted(_numbers(directory))
    place = _parse_cursor(cursor) or (0, 0)
    if numbers and place[0] > numbers[-1]:
        place = (0, 0)  # the directory was emptied, and numbers began again
    lines: list[bytes] = []
    left = size_max
    for number in (n for n in numbers if n >= place[0]):
        offset = place[1] if number == place[0] else 0
        data = b""
        with (
            contextlib.suppress(FileNotFoundError),  # rotation removed it
            line_file(directory, number).open("rb") as file,
        ):
            # Clients can invent cursors: an offset may be too large for pread.
            if offset < os.fstat(file.fileno()).st_size:
                data = os.pread(file.fileno(), left, offset)
        whole = data[: data.rfind(b"\n") + 1]
        lines += [line for line in whole.split(b"\n") if line]
        place = (number, offset + len(whole))
        # The file has more lines, or may still get some.
        if len(data) == left or (number < numbers[-1] and _is_late(line_file(directory, number))):
            break
        left -= len(whole)
    return lines, f"{place[0]}-{place[1]}"


def end_cursor(directory: Path, series: str = "") -> str:
    """Return the cursor after the last complete line."""
    newest = max(_numbers(directory, series), default=0)
    with (
        contextlib.suppress(FileNotFoundError),  # rotation removed it, or there is none
        line_file(directory, newest, series).open("rb") as file,
    ):
        position = os.fstat(file.fileno()).st_size
        while position > 0:
            begin = max(0, position - _BLOCK_SIZE)
            found = os.pread(file.fileno(), position - begin, begin).rfind(b"\n")
            if found >= 0:
                return f"{newest}-{begin + found + 1}"
            position = begin
    return f"{newest}-0"


def _is_late(path: Path) -> bool:
    """Return True if a file was written to just now, so that a process may still append to it."""
    try:
        return 0 <= time.time() - path.stat().st_mtime < _LATE_SECONDS
    except FileNotFoundError:
        return False


def trim(directory: Path, size_max: int) -> bool:
    """Remove the oldest files of the series without a digit until all series together take at most
    `size_max` bytes. Returns True if that series has files left.
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
    """Return True if the file ends with a complete line. After a power cut it may not."""
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return True
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
    except FileNotFoundError:
        return False


def _backwards(descriptor: int, end: int | None) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file and their offsets, from `end` or the file's end to its begin."""
    size = os.fstat(descriptor).st_size
    position = size if end is None else min(end, size)  # clients can invent cursors
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

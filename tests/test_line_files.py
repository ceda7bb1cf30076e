"""Files of lines, read backwards and forwards while other processes write, within a bound."""

from __future__ import annotations

import errno
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dtrfast.errors import PageInvalid
from dtrfast.machine.line_files import FILES, LineFiles, end_cursor, lines_after, lines_before


def _append(directory: Path, name: str, count: int) -> None:
    files = LineFiles(directory, 1 << 20)
    for number in range(count):
        files.append(f"{name}-{number}-{'x' * 200}\n".encode())
    files.close()


def test_processes_do_not_mix_their_lines(tmp_path: Path) -> None:
    directory = tmp_path / "lines"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append, args=(directory, f"w{n}", 300)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = [line for _, line in lines_before(directory, "")]
    assert len(found) == 900
    assert all(line.endswith(b"x" * 200) and line.count(b"-") == 2 for line in found)


def test_a_tail_goes_on_where_it_was(tmp_path: Path) -> None:
    files = LineFiles(tmp_path, 1 << 20)
    assert lines_after(tmp_path, end_cursor(tmp_path), 1000) == ([], "0-0")
    files.append(b"one\n")
    cursor = end_cursor(tmp_path)
    assert lines_after(tmp_path, cursor, 1000)[0] == []
    files.close()
    (path,) = tmp_path.iterdir()
    with path.open("ab", buffering=0) as other:  # another process, which writes a part of a line
        other.write(b"two\nthree\nhal")
        lines, cursor = lines_after(tmp_path, cursor, 1000)
        assert lines == [b"two", b"three"]
        assert end_cursor(tmp_path) == cursor
        other.write(b"f\n")
    assert lines_after(tmp_path, cursor, 1000)[0] == [b"half"]


def test_a_tail_crosses_files_and_survives_that_its_own_is_gone(tmp_path: Path) -> None:
    files = LineFiles(tmp_path, FILES * 100)
    cursor = end_cursor(tmp_path)
    for number in range(200):
        files.append(f"{number:03d}-{'x' * 40}\n".encode())
    assert len(list(tmp_path.iterdir())) <= FILES
    for path in tmp_path.iterdir():
        os.utime(path, (1.0, 1.0))
    lines, end = lines_after(tmp_path, cursor, 1 << 20)
    assert lines[-1].startswith(b"199-")
    assert lines_after(tmp_path, end, 1 << 20)[0] == []
    files.close()


def test_a_tail_reads_no_more_than_it_is_told(tmp_path: Path) -> None:
    files = LineFiles(tmp_path, 1 << 30)
    files.append(b"".join(b"%06d\n" % n for n in range(1000)))
    lines, cursor = lines_after(tmp_path, "0-0", 700)
    assert lines == [b"%06d" % n for n in range(100)]
    assert lines_after(tmp_path, cursor, 7)[0] == [b"000100"]
    files.close()


def test_all_files_together_stay_within_the_bound(tmp_path: Path) -> None:
    size_max = FILES * 10_000
    files = LineFiles(tmp_path, size_max)
    line = b"x" * 300 + b"\n"
    for count in (1, 500, 3, 40, 500, 500, 7, 500):
        files.append(line * count)
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= size_max
    files.close()
    found = [one for _, one in lines_before(tmp_path, "")]
    assert set(found) == {line[:-1]}
    assert len(found) * len(line) > size_max * 0.9


def test_a_line_that_is_longer_than_a_file_is_kept_whole(tmp_path: Path) -> None:
    files = LineFiles(tmp_path, FILES * 100)
    lines = [b"a" * 30, b"b" * 500, b"c" * 30, b"d" * 200]
    files.append(b"".join(line + b"\n" for line in lines))
    files.close()
    assert [line for _, line in lines_before(tmp_path, "")] == lines[::-1]
    assert len(list(tmp_path.iterdir())) == 4


def test_large_batches_are_written_in_pieces_of_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[bytes] = []
    write = os.write

    def noted(descriptor: int, data: bytes) -> int:
        written.append(data)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", noted)
    files = LineFiles(tmp_path, 1 << 30)
    files.append((b"y" * 999 + b"\n") * 1000)
    files.close()
    assert len(written) == 4
    assert all(piece.endswith(b"\n") and len(piece) <= 256 << 10 for piece in written)


def test_what_was_cut_short_is_mended_and_nothing_else_is_harmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = LineFiles(tmp_path, 1 << 20)
    files.append(b"one\n")
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", _half(write))
        with pytest.raises(OSError, match="No space"):
            files.append(b"a line that is cut\n")
    files.append(b"two\n")
    files.append(b"three\n")
    files.close()
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == b"one\na line th\ntwo\nthree\n"


def _half(write: Callable[[int, bytes], int]) -> Callable[[int, bytes], int]:
    """Write half of the data, as a disk does that becomes full."""
    calls = iter(range(10))

    def cut(descriptor: int, data: bytes) -> int:
        if next(calls):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: len(data) // 2])

    return cut


def test_a_tail_waits_for_writers_of_a_full_file(tmp_path: Path) -> None:
    slow, fast = LineFiles(tmp_path, FILES * 100), LineFiles(tmp_path, FILES * 100)
    slow.append(b"first\n")
    fast.append(b"x" * 90 + b"\n")  # to the same file
    fast.append(b"second\n")
    assert len(list(tmp_path.iterdir())) == 2
    lines, cursor = lines_after(tmp_path, "0-0", 1 << 20)
    assert (lines, cursor.partition("-")[0]) == ([b"first", b"x" * 90], "1")
    os.write(slow._descriptor, b"late\n")  # to the first file, which it still has open
    assert lines_after(tmp_path, cursor, 1 << 20)[0] == [b"late"]
    for path in tmp_path.iterdir():
        os.utime(path, (1.0, 1.0))
    lines, cursor = lines_after(tmp_path, cursor, 1 << 20)
    assert lines == [b"late", b"second"]
    assert lines_after(tmp_path, cursor, 1 << 20)[0] == []
    slow.close()
    fast.close()


def test_a_tail_reads_no_more_over_several_files(tmp_path: Path) -> None:
    files = LineFiles(tmp_path, FILES * 70)
    files.append(b"".join(b"%06d\n" % n for n in range(30)))
    files.close()
    for path in tmp_path.iterdir():
        os.utime(path, (1.0, 1.0))
    lines, cursor = lines_after(tmp_path, "0-0", 105)
    assert lines == [b"%06d" % n for n in range(15)]
    assert lines_after(tmp_path, cursor, 1000)[0][0] == b"000015"


@pytest.mark.parametrize("cursor", ["x", "1", "1-", "-1", "1-x", "9" * 50 + "-1", "\u0661-\u0662"])
def test_a_made_up_cursor_is_refused(tmp_path: Path, cursor: str) -> None:
    with pytest.raises(PageInvalid):
        list(lines_before(tmp_path, cursor))
    with pytest.raises(PageInvalid):
        lines_after(tmp_path, cursor, 10)


def test_cursors_from_beyond_the_end_cost_nothing(tmp_path: Path) -> None:
    files = LineFiles(tmp_path, 1 << 20)
    files.append(b"one\n")
    files.close()
    beyond = f"1-{1 << 60}"
    assert [line for _, line in lines_before(tmp_path, beyond)] == [b"one"]
    assert lines_after(tmp_path, beyond, 100)[0] == []
    assert lines_after(tmp_path, "99-0", 100)[0] == [b"one"]

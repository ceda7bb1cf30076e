"""Lines in files: read backwards and forwards while others write, within a bound."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from dtrfast.errors import PageInvalid
from dtrfast.line_files import FILES, LineFiles, end_cursor, lines_after, lines_before


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
    with path.open("ab", buffering=0) as other:  # another process, in the middle of a line
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
    assert len(list(tmp_path.iterdir())) <= FILES + 1
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

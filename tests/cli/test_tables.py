"""Tables fit a terminal, and are whole and stable in a pipe."""

from __future__ import annotations

import re

import pytest

from dtrfast.cli.options import HERE, RegistryOptions
from dtrfast.cli.output import show, show_one
from dtrfast.cli.tables import Column, fit, write_figures
from tests.cli import terminal

_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
DIGEST = "sha256:" + "0123456789abcdef" * 4
ROWS = [
    {
        "name": "a" * 128,
        "digest": DIGEST,
        "sizeBytes": 1_500_000,
        "count": 12_345,
        "setAt": "2026-01-31T12:00:00.123Z",
        "note": "one\ttwo\nthree",
        "isActive": True,
    },
    {
        "name": "短い",
        "digest": DIGEST,
        "sizeBytes": 1,
        "count": 1,
        "setAt": "",
        "note": None,
        "isActive": False,
    },
]
COLUMNS = tuple(ROWS[0])


def lines_of(written: terminal.Terminal) -> list[str]:
    return [_ESCAPE.sub("", line).rstrip() for line in written.getvalue().splitlines()]


def test_no_line_is_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for width in (20, 40, 80, 120, 400):
        out = terminal.opened(monkeypatch, width)
        errors = terminal.opened(monkeypatch, width, "stderr")
        show(HERE, ROWS, COLUMNS)
        lines = lines_of(out)
        assert len(lines) == 3, width  # no cell is folded
        assert all(len(line) <= width for line in lines), width
        hidden = [name for name in COLUMNS if name.removesuffix("Bytes") not in lines[0].split()]
        assert hidden == list(COLUMNS[len(COLUMNS) - len(hidden) :]), width
        assert bool(hidden) == (width < 120), width
        noted = errors.getvalue()
        assert noted == (f"not shown: {', '.join(hidden)}; use --wide or --json\n" * bool(hidden))


def test_a_terminal_shows_figures_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    out = terminal.opened(monkeypatch, 400)
    show(HERE, ROWS, COLUMNS)
    head, first, second = lines_of(out)
    assert "1.43 MiB" in first
    assert "2026-01-31T12:00:00Z" in first
    assert "one\ufffdtwo\ufffdthree  yes" in first
    assert "…" not in first
    # Numbers are aligned at the right.
    end = first.index("1.43 MiB") + len("1.43 MiB")
    assert head[:end].endswith(" size")
    assert first[: head.index("count") + len("count")].endswith("12,345"[-5:])
    assert second.endswith("no")


def test_digests_keep_the_digits_that_docker_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    out = terminal.opened(monkeypatch, 80)
    show(HERE, ROWS, ("name", "digest", "setAt"))
    assert DIGEST[: len("sha256:") + 12] in out.getvalue()
    assert DIGEST not in out.getvalue()


def test_wide_tables_are_whole_and_not_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    out = terminal.opened(monkeypatch, 40)
    show(RegistryOptions(wide=True), ROWS, COLUMNS)
    lines = lines_of(out)
    assert len(lines) == 3
    assert "a" * 128 in lines[1]
    assert DIGEST in lines[1]


def test_a_pipe_gets_whole_values_and_tabs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for width in ("20", "80"):
        monkeypatch.setenv("COLUMNS", width)
        monkeypatch.setenv("FORCE_COLOR", "1")
        show(HERE, ROWS, COLUMNS)
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split("\t") == list(COLUMNS)
        first = ["a" * 128, DIGEST, "1500000", "12345", "2026-01-31T12:00:00Z"]
        assert lines[1].split("\t") == [*first, "one\ufffdtwo\ufffdthree", "yes"]
        assert lines[2].split("\t") == ["短い", DIGEST, "1", "1", "", "", "no"]


def test_an_empty_list_is_no_line_for_awk(capsys: pytest.CaptureFixture[str]) -> None:
    show(HERE, [], COLUMNS)
    assert capsys.readouterr() == ("", "the list is empty\n")
    show(RegistryOptions(json=True), [], COLUMNS)
    assert capsys.readouterr() == ("[]\n", "")


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    out = terminal.opened(monkeypatch, 80)
    monkeypatch.setenv("NO_COLOR", "1")
    show(HERE, ROWS, COLUMNS)
    assert not re.search(r"\x1b\[[0-9;]*(3|4|9)[0-9]m", out.getvalue())


def test_records_and_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show_one(HERE, {"name": "app", "text": "two\nlines", "none": "", "at": ROWS[0]["setAt"]})
    write_figures({"stored bytes": 1_500_000, "tags": 12_345})
    assert capsys.readouterr().out == (
        "name\tapp\ntext\ttwo\ufffdlines\nat\t2026-01-31T12:00:00Z\nstored\t1500000\ntags\t12345\n"
    )
    out = terminal.opened(monkeypatch, 80)
    write_figures({"stored bytes": 1_500_000, "tags": 12_345})
    assert [line.split() for line in lines_of(out)] == [
        ["stored", "1.43", "MiB"],
        ["tags", "12,345"],
    ]


def test_widths() -> None:
    """Spare space goes to columns from left to right. The last columns are left out first."""
    columns = [Column("name", 60, 24), Column("digest", 71, 20), Column("at", 20, 20)]
    assert fit(columns, 200) == [60, 71, 20]
    assert fit(columns, 110) == [60, 26, 20]
    assert fit(columns, 80) == [36, 20, 20]
    assert fit(columns, 68) == [24, 20, 20]
    assert fit(columns, 67) == [45, 20]
    assert fit(columns, 45) == [45]
    assert fit(columns, 10) == [10]

"""The command line takes numbers exactly as written, or refuses them."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from dtrfast.cli.app import app, run
from dtrfast.cli.options import AMOUNT, WHOLE, RegistryOptions


def _commands(root: App, names: tuple[str, ...] = ()) -> Iterator[tuple[str, object]]:
    if root.default_command is not None:
        yield " ".join(names), root.default_command
    for name in root:
        if not name.startswith("-"):
            yield from _commands(root[name], (*names, name))


def test_every_option_that_is_a_number_says_how_it_is_read() -> None:
    """cyclopts rounds 0.4 to 0, which means "no limit", and accepts nan as an amount."""
    wanted = {int: WHOLE, float: AMOUNT}
    seen, complaints = 0, []
    for command, function in _commands(app):
        hints = typing.get_type_hints(function, include_extras=True)
        for name in inspect.signature(function).parameters:  # type: ignore[arg-type]
            hint = hints[name]
            bare, *extras = typing.get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
            for kind in {bare, *typing.get_args(bare)} & wanted.keys():
                seen += 1
                if wanted[kind] not in extras:
                    complaints.append(f"{command}: {name}")
    assert complaints == []
    assert seen >= 6
    assert not {int, float} & {*typing.get_type_hints(RegistryOptions).values()}


@pytest.mark.parametrize(
    "arguments",
    [
        ["backup", "B", "--rate"],
        ["backups", "prune", "B", "--keep-last"],
        ["token", "create", "o", "n", "--days"],
        ["serve", "--workers"],
    ],
)
def test_a_part_of_a_count_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for text in ("0.4", "1.0", "-1", "1e3", "nan", "", "\u00b2", "1_0"):
        assert run([*arguments[:-1], f"{arguments[-1]}={text}", "--data", str(tmp_path)]) == 2, text
        assert "whole number" in capsys.readouterr().err, text
    assert list(tmp_path.iterdir()) == []


def test_an_amount_is_finite_and_not_negative(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("nan", "inf", "-1", "x", ""):
        assert run(["backups", "prune", "B", f"--keep-days={text}"]) == 2, text
        assert "is not a number" in capsys.readouterr().err, text


def test_files_that_options_name_and_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, none = tmp_path / "text", tmp_path / "none"
    text.write_bytes(b"\xff")
    token = tmp_path / "token"
    token.write_text("a")
    url = ["user", "list", "--url", "https://localhost:1"]
    for options in (
        ["--token-file", str(text)],
        ["--token-file", str(none)],
        ["--token-file", str(tmp_path)],
        ["--token-file", str(token), "--ca-file", str(text)],
        ["--token-file", str(token), "--ca-file", str(none)],
    ):
        assert run([*url, *options]) == 1, options
        assert options[-1] in capsys.readouterr().err.replace("\n", ""), options


def test_options_of_a_url_are_refused_on_a_data_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--token-file", "--ca-file"):
        arguments = ["user", "list", "--data", str(tmp_path), option, str(tmp_path / "x")]
        assert run(arguments) == 1, option
        assert f"{option} is for a registry behind a URL" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

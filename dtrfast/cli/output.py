"""The output of commands: tables and sentences, or with --json one JSON document.

Standard output has the result and nothing else. Notes, progress and errors go to standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from dtrfast.cli.figures import whole_seconds
from dtrfast.cli.options import RegistryOptions
from dtrfast.cli.tables import flat, write_table
from dtrfast.oci import characters


def show(
    where: RegistryOptions, entries: Iterable[Mapping[str, Any]], columns: Sequence[str]
) -> None:
    """Print a list: a row for each entry, a column for each name, the important columns first."""
    rows = list(entries)
    if where.json:
        show_json(rows)
    else:
        show_rows(rows, columns, is_wide=where.wide)


def show_rows(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, is_wide: bool = False
) -> None:
    """Print a table, and a note on the columns that a narrow terminal has no room for."""
    if not rows:
        remark("the list is empty")
        return
    hidden = write_table(rows, columns, is_wide=is_wide)
    if hidden:
        remark(f"not shown: {', '.join(hidden)}; use --wide or --json")


def show_one(where: RegistryOptions, entry: Mapping[str, Any]) -> None:
    """Print a record: a line for each field that has a value."""
    if where.json:
        show_json(entry)
        return
    is_terminal = sys.stdout.isatty()
    for name, value in entry.items():
        if value not in ("", [], {}, None):
            line = f"{name:<24} {_text(value)}" if is_terminal else f"{name}\t{flat(value)}"
            sys.stdout.write(line + "\n")


def done(where: RegistryOptions, entry: object, text: str) -> None:
    """Print the result of a command: `text`, or with --json the API's answer `entry`."""
    finish(entry, [text], is_json=where.json)


def finish(document: object, lines: Iterable[str], *, is_json: bool) -> None:
    """Print the result of a command: its lines, or with --json its document."""
    if is_json:
        show_json(document)
        return
    for line in lines:
        say(line)


def say(text: str) -> None:
    """Print a line of text, with control characters made visible."""
    sys.stdout.write(plain(text) + "\n")


def remark(text: str) -> None:
    """Print a line beside the result, on standard error."""
    sys.stdout.flush()  # so that the lines have the right order on a terminal
    sys.stderr.write(plain(text) + "\n")


def show_json(value: object) -> None:
    """Print a value as JSON, in the API's form."""
    text = msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode()
    sys.stdout.write(characters.escaped_json(text) + "\n")


def plain(text: str) -> str:
    """Return a text without the characters that a terminal obeys, or that reverse its lines."""
    return characters.shown_lines(text).replace("\r", characters.REPLACEMENT)


def _text(value: object) -> str:
    """Return a value as text that may have several lines."""
    if isinstance(value, str):
        return plain(whole_seconds(value))
    return flat(value)

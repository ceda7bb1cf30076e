"""The output of commands: tables and sentences, or the API's own JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from dtrfast.cli.api_client import RegistryOptions
from dtrfast.oci import characters


def show(
    where: RegistryOptions, entries: Iterable[Mapping[str, Any]], columns: Sequence[str]
) -> None:
    """Print a list: a row for each entry, a column for each name."""
    rows = list(entries)
    if where.json:
        show_json(rows)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_text(row.get(column, "")) for column in columns))
    Console().print(table, markup=False) if rows else say("the list is empty")


def show_one(where: RegistryOptions, entry: Mapping[str, Any]) -> None:
    """Print a record: a line for each field that has a value."""
    if where.json:
        show_json(entry)
        return
    for name, value in entry.items():
        if value not in ("", [], {}, None):
            sys.stdout.write(f"{name:<24} {_text(value)}\n")


def done(where: RegistryOptions, entry: object, text: str) -> None:
    """Print the result of a command: `text`, or with --json the API's answer `entry`."""
    if where.json:
        show_json(entry)
    else:
        say(text)


def say(text: str) -> None:
    """Print a line of text, with control characters made visible."""
    sys.stdout.write(plain(text) + "\n")


def show_json(value: object) -> None:
    """Print a value as JSON, in the API's form."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    sys.stdout.write(characters.escaped_json(text) + "\n")


def plain(text: str) -> str:
    """Return a text without the characters that a terminal obeys, or that reverse its lines."""
    return characters.shown_lines(text).replace("\r", characters.REPLACEMENT)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{plain(str(name))}={_text(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return "; ".join(_text(item) for item in value)
    return plain(str(value))

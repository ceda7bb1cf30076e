"""Tables of records. On a terminal they fit its width; in a pipe they are complete.

A column is named for the field that it shows. The name also says what it holds, by the conventions
of the API: `…Bytes` and `size` are sizes, `…At` and `…Until` are times, `digest` is a digest.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dtrfast.cli.figures import human, whole_seconds
from dtrfast.oci import characters

_GAP = 2
# Texts and digests are cut to these widths before a column is left out. A digest of this width
# still has twelve of its digits, as many as `docker images` shows.
_TEXT_WIDTH_MIN = 12
_DIGEST_WIDTH_MIN = 20
_NAME_WIDTH_MIN = 24  # the first column names its row


@dataclass(frozen=True, slots=True)
class Column:
    """A column that was measured: its natural width, and the least width to which it is cut."""

    name: str
    natural: int
    least: int


def fit(columns: Sequence[Column], width: int) -> list[int]:
    """Return the widths of the columns to show in a terminal of `width`.

    Columns are in the order of their importance: if even the least widths do not fit, the last
    columns are left out. Spare space goes to the columns from left to right.
    """
    shown = list(columns)
    while len(shown) > 1 and _taken(one.least for one in shown) > width:
        shown.pop()
    spare = width - _taken(one.least for one in shown)
    widths = []
    for one in shown:
        more = max(0, min(spare, one.natural - one.least))
        spare -= more
        widths.append(max(1, min(one.least + more, width)))
    return widths


def _taken(widths: Iterable[int]) -> int:
    every = list(widths)
    return sum(every) + _GAP * (len(every) - 1)


def write_table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, is_wide: bool = False
) -> list[str]:
    """Print a row for each record. Return the columns that did not fit.

    On a terminal long values are cut, unless `is_wide`. Elsewhere values are whole and sizes exact,
    with a tab between two columns.
    """
    if not sys.stdout.isatty():
        lines = [columns, *([flat(row.get(name, "")) for name in columns] for row in rows)]
        sys.stdout.writelines("\t".join(line) + "\n" for line in lines)
        return []
    cells = [[_cell(name, row.get(name, "")) for name in columns] for row in rows]
    measured = [
        _measure(name, [line[number] for line in cells], is_first=number == 0)
        for number, name in enumerate(columns)
    ]
    console = Console()
    widths = [one.natural for one in measured] if is_wide else fit(measured, console.width)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    for name, width in zip(columns, widths, strict=False):
        title = _title(name)
        is_number = all(_is_number(name, row.get(name, "")) for row in rows)
        justify: Any = "right" if is_number else "left"
        table.add_column(title, width=width, no_wrap=True, overflow="ellipsis", justify=justify)
    for line in cells:
        table.add_row(*(Text(cell) for cell in line[: len(widths)]))
    if is_wide:
        console.width = max(console.width, _taken(widths) + _GAP)
    console.print(table, crop=False, soft_wrap=is_wide)
    return list(columns[len(widths) :])


def write_figures(figures: Mapping[str, int]) -> None:
    """Print named numbers, a line for each. Names that end with `bytes` are sizes.

    On a terminal sizes have units; elsewhere they are exact, after a tab.
    """
    if not sys.stdout.isatty():
        sys.stdout.writelines(f"{_label(name)}\t{value}\n" for name, value in figures.items())
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in figures.items():
        table.add_row(_label(name), human(value) if name != _label(name) else f"{value:,}")
    Console().print(table)


def _label(name: str) -> str:
    return name.removesuffix(" bytes")


def _measure(name: str, cells: Sequence[str], *, is_first: bool) -> Column:
    title = _title(name)
    natural = max(cell_len(text) for text in (title, *cells))
    if is_first:
        least = _NAME_WIDTH_MIN
    elif name == "digest":
        least = _DIGEST_WIDTH_MIN
    elif is_size(name) or _is_time(name):
        least = natural
    else:
        least = _TEXT_WIDTH_MIN
    return Column(name, natural, min(natural, max(least, cell_len(title))))


def _title(name: str) -> str:
    """Return the head of a column on a terminal, where sizes have their units."""
    return name.removesuffix("Bytes")


def _is_number(name: str, value: object) -> bool:
    return is_size(name) or (isinstance(value, int | float) and not isinstance(value, bool))


def is_size(name: str) -> bool:
    """Return True if the field of this name is a size in bytes."""
    return name == "size" or name.endswith(("Bytes", "_bytes"))


def _is_time(name: str) -> bool:
    return name.endswith(("At", "Until"))


def _cell(name: str, value: object) -> str:
    """Return a value for a table on a terminal: sizes with a unit, counts with separators."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return human(value) if is_size(name) else f"{value:,}"
    return flat(value)


def flat(value: object) -> str:
    """Return a value as one line, without characters that a terminal obeys."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{flat(str(name))}={flat(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(flat(item) for item in value)
    return characters.shown(whole_seconds("" if value is None else str(value)))

"""The table of rights: `rights.txt`, read into rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dtrfast.api.v0.operation import Operation
from tests.walks.callers import COLUMNS
from tests.walks.requests import BY_ID, Request

PATH = Path(__file__).with_name("rights.txt")
_FIRST = "operation"
_NAME_WIDTH = 34
_CELL_WIDTH = 9


@dataclass(frozen=True, slots=True)
class Row:
    """The answers to one request. `cells` are by the column's name."""

    name: str
    cells: dict[str, str]
    method: str
    path: str

    def __str__(self) -> str:
        cells = "".join(self.cells[column].ljust(_CELL_WIDTH) for column in COLUMNS)
        return f"{self.name:{_NAME_WIDTH}}{cells}{self.method:7}{self.path}"


def row_of(request: Request, cells: dict[str, str]) -> Row:
    """Return the table's row for measured cells."""
    operation: Operation = BY_ID[request.operation]
    return Row(request.name, cells, operation.method, operation.path)


def read() -> list[Row]:
    """Return all rows of the table, in its order. Comments begin with a hash."""
    lines = (line.partition("#")[0].split() for line in PATH.read_text("utf-8").splitlines())
    return [_row(words) for words in lines if words and words[0] != _FIRST]


def _row(words: list[str]) -> Row:
    assert len(words) == len(COLUMNS) + 3, f"the row {words[0]} has another number of cells"
    name, *cells, method, path = words
    return Row(name, dict(zip(COLUMNS, cells, strict=True)), method, path)


def read_columns() -> list[str]:
    """Return the names of the columns, from the table's first row."""
    lines = (line.split() for line in PATH.read_text("utf-8").splitlines())
    return next(words for words in lines if words and words[0] == _FIRST)[1:-2]

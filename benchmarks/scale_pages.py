"""The size of each table in an index file: `python -m benchmarks.scale_pages DATA`.

It reads LMDB directly, because the index seam does not know pages. It may run beside a server.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
from rich.console import Console
from rich.table import Table

from dtrfast.index.lmdb import MAP_SIZE, TABLES_MAX
from dtrfast.index.tables import TABLES


@dataclass(frozen=True, slots=True)
class Pages:
    """The rows of a table, and the bytes of its pages. `overflow` pages have one large value."""

    table: str
    rows: int
    branch_bytes: int
    leaf_bytes: int
    overflow_bytes: int

    @property
    def bytes(self) -> int:
        return self.branch_bytes + self.leaf_bytes + self.overflow_bytes


@dataclass(frozen=True, slots=True)
class Index:
    """An index file: its tables and its size. Free pages are reused before the file grows."""

    tables: list[Pages]
    file_bytes: int
    free_bytes: int

    def bytes_of(self, *names: str) -> int:
        """Return the bytes of these tables together."""
        return sum(pages.bytes for pages in self.tables if pages.table in names)


def read(data: Path) -> Index:
    """Measure the index of the data directory."""
    with _open(data / "index", readonly=True) as environment:
        tables = list(_tables(environment))
        page_size, last = environment.stat()["psize"], environment.info()["last_pgno"]
    file_bytes = page_size * (last + 1)
    # The two meta pages and the pages of the free list count as free here.
    return Index(tables, file_bytes, file_bytes - sum(pages.bytes for pages in tables))


def repack(data: Path, target: Path) -> Index:
    """Write the same rows in key order with full pages, and measure this smallest index."""
    target.mkdir(parents=True)
    with (
        _open(data / "index", readonly=True) as source,
        _open(target, readonly=False, sync=False) as packed,
        source.begin() as rows,
    ):
        for table in TABLES:
            name = table.name.encode()
            origin, destination = source.open_db(name, rows), packed.open_db(name)
            with packed.begin(write=True) as transaction, rows.cursor(origin) as cursor:
                transaction.cursor(destination).putmulti(cursor, append=True)
    return read(target.parent)


def _open(directory: Path, **options: Any) -> lmdb.Environment:
    return lmdb.open(str(directory), map_size=MAP_SIZE, max_dbs=TABLES_MAX, **options)


def _tables(environment: lmdb.Environment) -> Iterator[Pages]:
    with environment.begin() as transaction:
        for table in TABLES:
            stat = transaction.stat(environment.open_db(table.name.encode(), transaction))
            size = stat["psize"]
            yield Pages(
                table.name,
                stat["entries"],
                stat["branch_pages"] * size,
                stat["leaf_pages"] * size,
                stat["overflow_pages"] * size,
            )


def main(arguments: list[str]) -> int:
    """Print a table. Returns the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m benchmarks.scale_pages DATA\n")
        return 2
    index = read(Path(arguments[0]))
    table = Table("table", "rows", "bytes", "bytes a row", "overflow", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for pages in sorted(index.tables, key=lambda pages: -pages.bytes):
        each = pages.bytes / max(1, pages.rows)
        numbers = (pages.rows, pages.bytes, round(each, 1), pages.overflow_bytes)
        table.add_row(pages.table, *(f"{number:,}" for number in numbers))
    table.add_row("free", "", f"{index.free_bytes:,}", "", "")
    table.add_row("file", "", f"{index.file_bytes:,}", "", "")
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A summary of the tables of an index, for diagnosis by administrators."""

from __future__ import annotations

from itertools import islice
from typing import Literal

from dtrfast.errors import DtrfastError
from dtrfast.index.engine import Engine
from dtrfast.index.tables import TABLES


def survey(engine: Engine, scope: Literal["local", "shared"], rows_max: int) -> dict[str, str]:
    """Return for each table of one scope its number of rows, or the reason why it cannot be read.

    At most `rows_max` rows of a table are counted; a table with more has "many rows". Each table is
    read in its own snapshot.
    """
    found: dict[str, str] = {}
    for table in TABLES:
        if table.scope != scope:
            continue
        try:
            with engine.read() as transaction:
                rows = sum(1 for _ in islice(transaction.scan(table), rows_max))
            found[table.name] = f"{rows} rows" if rows < rows_max else "many rows"
        except DtrfastError as error:
            found[table.name] = f"cannot be read: {error.message}"
    return found

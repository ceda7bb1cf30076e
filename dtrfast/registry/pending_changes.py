"""The way of changes from the index, which records them, to the files of the change log."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dtrfast.index import changes
from dtrfast.index.engine import Engine


def drain(engine: Engine, append: Callable[[list[bytes]], object]) -> int:
    """Move all changes that wait in the index to the change log; returns their number.

    `append` writes encoded changes to the log's files and syncs them. Rows leave the index after
    that, so a crash loses no change.
    """
    total = 0
    while rows := _oldest(engine):
        append([data for _, data in rows])
        engine.write(partial(changes.forget, keys=[key for key, _ in rows]))
        total += len(rows)
    return total


def _oldest(engine: Engine) -> list[tuple[bytes, bytes]]:
    with engine.read() as transaction:
        return changes.oldest(transaction)

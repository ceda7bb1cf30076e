"""Moving changes from the index, where they were recorded, to the files of the change log."""

from __future__ import annotations

from functools import partial

from dtrfast.index import changes
from dtrfast.index.engine import Engine
from dtrfast.store.change_log import ChangeLog


def drain(engine: Engine, log: ChangeLog) -> int:
    """Move what waits in the index to the files; returns how many changes that were. Rows leave the
    index only after their records are synced.
    """
    total = 0
    while rows := _oldest(engine):
        log.append([data for _, data in rows])
        engine.write(partial(changes.forget, keys=[key for key, _ in rows]))
        total += len(rows)
    return total


def _oldest(engine: Engine) -> list[tuple[bytes, bytes]]:
    with engine.read() as transaction:
        return changes.oldest(transaction)

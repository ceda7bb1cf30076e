"""The copy of a replay recipe in a pack, from which repair makes the rows again.

The copy is the rows of the index, each as a record of the pack. docs/format.md has the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

from dtrfast.index.tables import RECIPES, REPLAY_SEGMENTS, number_key
from dtrfast.store import packs, records
from dtrfast.store.contents import NumberedContent
from dtrfast.store.context import StoreContext
from dtrfast.store.new_pack import NewPack
from dtrfast.store.packs import ReplayPiece
from dtrfast.store.tier import replays
from dtrfast.store.tier.replays import Replay

HEAD, SEGMENT, SLICES = 0, 1, 2

_ROWS_READ = 64


def write(context: StoreContext, pack: NewPack, found: NumberedContent, replay: Replay) -> int:
    """Append a copy of the recipe to a pack; return its bytes."""
    begin = pack.size
    rows: list[tuple[int, int, bytes]] = []
    for row in _rows(context, replay):
        rows.append(row)
        if len(rows) == packs.REPLAY_ROWS_MAX:
            pack.append([_piece(found, rows)])
            rows = []
    pack.append([_piece(found, rows)])
    return pack.size - begin


def _piece(found: NumberedContent, rows: list[tuple[int, int, bytes]]) -> bytes:
    return packs.replay_piece(ReplayPiece(found.content.sha256, found.content.size, rows))


def _rows(context: StoreContext, replay: Replay) -> Iterator[tuple[int, int, bytes]]:
    """The rows: kind, offset, value. The record comes last: it makes the copy whole."""
    prefix = number_key(replay.recipe)
    for kind, table in ((SEGMENT, REPLAY_SEGMENTS), (SLICES, RECIPES)):
        after: bytes | None = None
        while True:
            with context.engine.read() as transaction:
                some = list(transaction.scan(table, prefix, after=after, limit=_ROWS_READ))
            yield from ((kind, records.recipe_offset(key), value) for key, value in some)
            if len(some) < _ROWS_READ:
                break
            after = some[-1][0]
    yield HEAD, 0, replays.encode(replay)

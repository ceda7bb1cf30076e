"""Replay recipes that do not re-create their content."""

from __future__ import annotations

from dtrfast.index.tables import CONTENTS, number_key
from dtrfast.store import damage
from dtrfast.store.contents import NumberedContent
from dtrfast.store.context import StoreContext
from dtrfast.store.records import decode_content
from dtrfast.store.tier import replays
from dtrfast.store.tier.replays import Replay, Segment


def quarantine(
    context: StoreContext,
    found: NumberedContent,
    replay: Replay,
    segment: Segment | None,
    reason: str,
) -> None:
    """Mark an evicted content as damaged, and those of its chunks that are.

    `segment`: the segment with the fault, None if it is not known. Does nothing if the content was
    freed or got its original back since it was opened.
    """
    if not _is_current(context, found, replay):
        return
    bounds = None if segment is None else (segment.plain_begin, segment.plain_end)
    damage.mark_chunks_of(context, replay.recipe, bounds)
    damage.mark_content(context, found.number, reason)


def _is_current(context: StoreContext, found: NumberedContent, replay: Replay) -> bool:
    with context.engine.read() as transaction:
        data = transaction.get(CONTENTS, number_key(found.number))
        now = replays.find(transaction, found.number)
    if data is None or now is None or now.recipe != replay.recipe:
        return False
    return decode_content(data).kind == "recreated"

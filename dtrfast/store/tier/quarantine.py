"""Replay recipes that do not re-create their content."""

from __future__ import annotations

from functools import partial

from dtrfast.errors import Corrupt
from dtrfast.index.engine import ReadTransaction
from dtrfast.store import damage
from dtrfast.store.contents import NumberedContent
from dtrfast.store.context import StoreContext
from dtrfast.store.records import Content
from dtrfast.store.tier import replays
from dtrfast.store.tier.replays import Replay, Segment


def quarantine(
    context: StoreContext,
    found: NumberedContent,
    replay: Replay | None,
    segment: Segment | None,
    reason: str,
) -> None:
    """Mark an evicted content as damaged, then those of its chunks that are.

    `replay`: None if the recipe is gone or cannot be read. `segment`: the segment with the fault,
    None if it is not known. Does not mark a content that was freed or got its original back since
    it was opened.
    """
    # The content comes first: it must not be served, even if the look at its chunks fails.
    is_current = partial(_is_current, number=found.number, replay=replay)
    damage.mark_content(context, found.number, reason, is_current)
    if replay is not None:
        bounds = None if segment is None else (segment.plain_begin, segment.plain_end)
        damage.mark_chunks_of(context, replay.recipe, bounds)


def _is_current(
    transaction: ReadTransaction, content: Content, number: int, replay: Replay | None
) -> bool:
    if content.kind != "recreated":
        return False
    try:
        now = replays.find(transaction, number)
    except Corrupt:
        return True
    if now is None or replay is None:
        return now is None and replay is None
    return now.recipe == replay.recipe

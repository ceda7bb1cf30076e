"""Removes the rows that interrupted conversions and evictions left."""

from __future__ import annotations

from dtrfast.errors import Corrupt, FormatUnknown
from dtrfast.index.tables import CONTENTS, REPLAYS_UNFINISHED, number_of
from dtrfast.oci.digests import Digest
from dtrfast.store.claims import ContentClaim
from dtrfast.store.context import StoreContext
from dtrfast.store.records import decode_content
from dtrfast.store.tier import replays

_STEP_MAX = 20


def remove_unfinished(context: StoreContext) -> int:
    """Remove rows of recipes that no program works on any more; return the number of recipes.

    A program that converts a content claims it, and the claim ends with the program.
    """
    with context.engine.read() as transaction:
        rows = list(transaction.scan(REPLAYS_UNFINISHED, limit=_STEP_MAX))
    removed = 0
    for key, content in rows:
        with ContentClaim(context.layout.claims) as claim:
            if _claim(context, content, claim):
                # It may have been finished since it was read.
                with context.engine.read() as transaction:
                    is_listed = transaction.get(REPLAYS_UNFINISHED, key) is not None
                if is_listed:
                    replays.remove(context.engine, number_of(key))
                    removed += 1
    return removed


def _claim(context: StoreContext, key: bytes, claim: ContentClaim) -> bool:
    with context.engine.read() as transaction:
        data = transaction.get(CONTENTS, key)
    try:
        content = None if data is None else decode_content(data)
    except (Corrupt, FormatUnknown):
        return False  # `verify` names it
    return content is None or claim.add(Digest("sha256", content.sha256))

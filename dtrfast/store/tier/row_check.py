"""Checks of the rows of replay recipes, for a verification of the index."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dtrfast.errors import Corrupt, FormatUnknown
from dtrfast.index.engine import ReadTransaction, Table
from dtrfast.index.tables import (
    CONTENTS,
    LAYERS,
    REPLAY_CONTENTS,
    REPLAY_SEGMENTS,
    REPLAYS,
    REPLAYS_UNFINISHED,
    number_key,
    number_of,
)
from dtrfast.oci.digests import Digest
from dtrfast.store.records import Content
from dtrfast.store.tier import replays
from dtrfast.store.tier.replays import Replay, Segment

# The rows of a table, with progress for the user. The second argument is the table's name for it.
Scan = Callable[[Table, str], Iterator[tuple[bytes, bytes]]]
Get = Callable[[Table, bytes], bytes | None]


def check_segments(
    transaction: ReadTransaction, name: Digest, content: Content, replay: Replay
) -> Iterator[str]:
    """Segments must follow each other, from the first byte to the last."""
    first: Segment | None = None
    try:
        for one in replays.segments_in(transaction, content.size, replay):
            first = first or one
    except (Corrupt, FormatUnknown) as error:
        yield f"the segments of {name} cannot be used: {error}"
        return
    if first is None or (first.begin, first.plain_begin) != (0, 0):
        yield f"the segments of {name} are gone"


def check_owners(scan: Scan, get: Get) -> Iterator[str]:
    """Rows of the tier must belong to a content, or to unfinished work.

    Skips replay recipes that cannot be read: the check of their contents finds these.
    """
    for key, value in scan(REPLAYS, "replay recipes"):
        if get(CONTENTS, key) is None:
            yield f"there is a replay recipe of content {number_of(key)}, which is not there"
        elif (recipe := _recipe_key(value)) and get(REPLAY_CONTENTS, recipe) != key:
            yield f"the plain recipe of content {number_of(key)} cannot be found"
    for key, content in scan(REPLAY_CONTENTS, "plain recipes"):
        replay = get(REPLAYS, content)
        if replay is None or _recipe_key(replay) not in (key, b""):
            yield f"content {number_of(content)} does not have its plain recipe {number_of(key)}"
    yield from _check_owners_of_segments(scan, get)
    for key, _ in scan(LAYERS, "layers"):
        if get(CONTENTS, key) is None:
            yield f"there is a verdict on content {number_of(key)}, which is not there"


def _check_owners_of_segments(scan: Scan, get: Get) -> Iterator[str]:
    recipe = -1
    for key, _ in scan(REPLAY_SEGMENTS, "segments"):
        if number_of(key) == recipe:
            continue
        recipe = number_of(key)
        if all(
            get(table, number_key(recipe)) is None
            for table in (REPLAY_CONTENTS, REPLAYS_UNFINISHED)
        ):
            yield f"there are segments of recipe {recipe}, which is not there"


def _recipe_key(replay: bytes) -> bytes:
    """Return the key of the plain recipe; empty if the replay recipe cannot be read."""
    try:
        return number_key(replays.decode(replay).recipe)
    except (Corrupt, FormatUnknown):
        return b""

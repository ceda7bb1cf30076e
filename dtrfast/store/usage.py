"""The space that blobs take on this disk, and that would be free without them: exact, from the
index.

A chunk is counted once, even if it occurs often. It would be free if all its references are from
contents that would go. The cost depends on the recipes of the blobs, not on the size of the store.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from dtrfast.index.tables import CHUNKS, number_key, number_of
from dtrfast.oci.digests import Digest
from dtrfast.store import contents, recipe_rows, recipes
from dtrfast.store.blobs import IsHeld, Usage
from dtrfast.store.contents import NumberedContent
from dtrfast.store.context import StoreContext
from dtrfast.store.records import Chunk
from dtrfast.store.tier import replays

# Rows and chunks that one transaction reads: some milliseconds.
_STEP_MAX = 2000
_ROWS_READ = 256
# Steps for the look-up of a content.
_CONTENT_STEPS = 4


def measure(
    context: StoreContext,
    blobs: Iterable[Digest],
    is_held: IsHeld,
    *,
    is_alone: bool = False,
    steps_max: int | None = None,
) -> Usage:
    """See `BlobStore.measure`."""
    steps = _Steps(sys.maxsize if steps_max is None else steps_max)
    count = _Count(context, steps, is_alone=is_alone)
    for content, goes in _contents(context, blobs, is_held, steps):
        count.add(content, goes=goes)
    return count.usage()


@dataclass(slots=True)
class _Steps:
    """The steps that are left. Below zero the measurement must end."""

    left: int


def _contents(
    context: StoreContext, blobs: Iterable[Digest], is_held: IsHeld, steps: _Steps
) -> Iterable[tuple[NumberedContent, bool]]:
    """The contents, each once, and for each True if `is_held` does not keep it."""
    seen: set[int] = set()
    digests = iter(blobs)
    while some := list(islice(digests, _STEP_MAX)):
        step: list[NumberedContent] = []
        with context.engine.read() as transaction:
            for digest in some:
                steps.left -= _CONTENT_STEPS
                if steps.left < 0:
                    break
                found = contents.find(transaction, digest)
                if found is None or found.number in seen:
                    continue
                seen.add(found.number)
                step.append(found)
        held = is_held([contents.digests(found.content) for found in step])
        yield from ((found, not one) for found, one in zip(step, held, strict=True))
        if steps.left < 0:
            return


class _Count:
    """Adds up contents. The chunks are looked up at the end, each once."""

    def __init__(self, context: StoreContext, steps: _Steps, *, is_alone: bool) -> None:
        self._context = context
        self._steps = steps
        self._is_alone = is_alone
        self._stored = self._unique = self._size = 0
        self._chunks: Counter[int] = Counter()
        self._going: Counter[int] = Counter()

    def add(self, found: NumberedContent, *, goes: bool) -> None:
        content = found.content
        alone = content.stored + content.recipe_size
        self._size += content.size
        self._stored += alone
        self._unique += alone if goes else 0
        if content.kind == "chunked":
            self._add_recipe(found.number, goes=goes)
        with self._context.engine.read() as transaction:
            replay = replays.find_readable(transaction, found.number)
        if replay is not None:
            self._stored += replay.pack_size
            self._unique += replay.pack_size if goes else 0
            self._add_recipe(replay.recipe, goes=goes)

    def _add_recipe(self, recipe: int, *, goes: bool) -> None:
        for row in recipes.rows(self._context.engine, recipe, _ROWS_READ):
            for chunk in recipe_rows.known_chunk_ids(row):
                self._steps.left -= 1
                if self._steps.left < 0:
                    return
                self._chunks[chunk] += 1
                if goes:
                    self._going[chunk] += 1

    def usage(self) -> Usage:
        ordered = iter(sorted(self._chunks))
        while some := list(islice(ordered, _STEP_MAX)):
            with self._context.engine.read() as transaction:
                found = transaction.get_many(CHUNKS, [number_key(number) for number in some])
            for key, data in found.items():
                chunk, number = Chunk.decode(data), number_of(key)
                self._stored += chunk.stored
                references = self._chunks[number] if self._is_alone else chunk.references
                if self._going[number] == references:
                    self._unique += chunk.stored
        return Usage(self._size, self._stored, self._unique, self._steps.left >= 0)

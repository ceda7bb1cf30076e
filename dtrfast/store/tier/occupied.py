"""The space that an original takes on disk: the space that its eviction gives back."""

from __future__ import annotations

from itertools import islice

from dtrfast.errors import Corrupt, FormatUnknown
from dtrfast.index.tables import CHUNKS, number_key
from dtrfast.store import recipes, records
from dtrfast.store.context import StoreContext
from dtrfast.store.records import Chunk
from dtrfast.store.tier.candidates import Candidate
from dtrfast.store.tier.layers import Layer
from dtrfast.store.tier.replays import IDENTITY

# A row of a recipe has 128 chunks. One row is read of so many bytes: 64 rows of 32 GB.
_BYTES_OF_A_ROW = 512 << 20


def size_of(context: StoreContext, one: Candidate, layer: Layer) -> int:
    """Return the bytes that the original of a layer takes, or took before its eviction.

    An uncompressed layer is pushed as chunks, which are compressed and shared already.
    """
    kind = one.found.content.kind
    if kind == "chunked":
        return _size_of_chunks(context, one)
    if kind == "recreated" and layer.encoder == IDENTITY:
        return layer.chunks_size
    return one.size


def _size_of_chunks(context: StoreContext, one: Candidate) -> int:
    """Estimate the space of chunks. One with several references counts for each with its part."""
    step = 1 + one.size // _BYTES_OF_A_ROW
    taken, length = 0.0, 0
    try:
        for row in islice(recipes.rows(context.engine, one.number), 0, None, step):
            parts = list(records.row_parts(row))
            with context.engine.read() as transaction:
                found = transaction.get_many(CHUNKS, [number_key(part) for part, _ in parts])
            for identifier, size in parts:
                data = found.get(number_key(identifier))
                if data is not None:
                    chunk = Chunk.decode(data)
                    taken += chunk.stored / max(1, chunk.references)
                    length += size
    except (Corrupt, FormatUnknown):
        return one.size  # the conversion will report the damage
    return round(taken * one.size / length) if length else one.size

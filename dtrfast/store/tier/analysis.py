"""The first look at a layer: its encoder, and a sample of the chunks that a conversion would make.

Nothing is stored. It reads and inflates the whole layer, which costs a fifth of a conversion.
"""

from __future__ import annotations

from functools import partial

import xxhash

from dtrfast.store import codec
from dtrfast.store.chunk_writer import encode_chunk
from dtrfast.store.tier import recognition
from dtrfast.store.tier.encoding import IDENTITY_ENCODER
from dtrfast.store.tier.layers import Layer, Sample
from dtrfast.store.tier.original import Original
from dtrfast.store.tier.plain_source import Framed, LayerKept, PlainSource
from dtrfast.store.tier.recognition import Recognition

_FIRST_SIZE = 16  # of the bytes that tell a compressed content from others


def recognize(original: Original) -> Recognition:
    """Find the encoders of a layer: the identity for an uncompressed one.

    An expansion makes a file of an uncompressed layer, too.
    """
    if original.is_chunked or not codec.is_compressed(original.read(0, _FIRST_SIZE)):
        return Recognition((IDENTITY_ENCODER,))
    return recognition.recognize(original)


def analyze(original: Original) -> Layer:
    """Return the verdict on a layer. Raises `Corrupt`, `StorageFailed`."""
    found = recognize(original)
    if not found.encoders:
        return Layer.kept(found.reason)
    sample = Sample()
    size = 0
    try:
        for batch in PlainSource(Framed(original, found.encoders, found.header)).batches():
            size += batch.size
            for chunk in batch.chunks:
                digest = xxhash.xxh3_128_digest(chunk)
                sample.add(digest, len(chunk), partial(_stored_size, chunk))
    except LayerKept as kept:
        return Layer.kept(str(kept))
    return Layer.made_by(found.encoders[0].id, size, sample)


def _stored_size(chunk: memoryview) -> int:
    """Return the bytes that a chunk would take in a pack."""
    return len(encode_chunk(chunk, codec.TIER_LEVEL)[1])

"""Verdicts of the tier on layers: the encoder that made a layer, or the reason to keep it whole."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import msgspec

from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import CONTENTS, LAYERS, number_key
from dtrfast.store.tier.encoding import ENCODERS

_VERSION = 1
_SAMPLED = struct.Struct("<QII")  # first 8 bytes of the XXH3-128, length, stored bytes
# A quarter of the chunks is sampled: those whose hash ends in two zero bits. Of a layer with few
# chunks all are: a quarter of ten chunks may be none.
_SAMPLE_MASK = 3
FEW_CHUNKS = 64

NO_ENCODER = -1


@dataclass(frozen=True, slots=True)
class SampledChunk:
    """A chunk of a layer. `stored`: the bytes that it takes in a pack."""

    hash: int
    length: int
    stored: int


class Layer(msgspec.Struct, frozen=True, array_like=True):
    """A verdict. New fields are appended with a default.

    `encoder`: its id, or `NO_ENCODER` with the reason. `known`: the number of encoders that were
    tried. `chunks`: the number of all chunks, of which `sample` has some.
    """

    version: int
    encoder: int
    reason: str
    known: int
    plain_size: int = 0
    chunks: int = 0
    sample: bytes = b""

    @classmethod
    def kept(cls, reason: str) -> Self:
        """Return the verdict that a layer stays whole."""
        return cls(_VERSION, NO_ENCODER, reason, len(ENCODERS))

    @classmethod
    def made_by(cls, encoder: int, plain_size: int, chunks: list[SampledChunk]) -> Self:
        """Return the verdict that an encoder made the layer, which has these chunks."""
        is_small = len(chunks) <= FEW_CHUNKS
        some = [chunk for chunk in chunks if is_small or not chunk.hash & _SAMPLE_MASK]
        sample = b"".join(_SAMPLED.pack(one.hash, one.length, one.stored) for one in some)
        return cls(_VERSION, encoder, "", len(ENCODERS), plain_size, len(chunks), sample)

    @property
    def is_current(self) -> bool:
        """False if an encoder that was not tried may have made the layer."""
        return self.encoder != NO_ENCODER or self.known >= len(ENCODERS)

    def sampled(self) -> Iterator[SampledChunk]:
        """The sampled chunks."""
        for one in _SAMPLED.iter_unpack(self.sample):
            yield SampledChunk(*one)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Layer)


def find(transaction: ReadTransaction, content: int) -> Layer | None:
    """Return the verdict on a content, or None if the tier did not look at it yet.

    Verdicts are a cache: one that cannot be read counts as missing, so the tier looks again.
    """
    data = transaction.get(LAYERS, number_key(content))
    if data is None:
        return None
    try:
        layer = _decoder.decode(data)
    except ValueError:
        return None
    if layer.version != _VERSION or len(layer.sample) % _SAMPLED.size:
        return None
    return layer


def put(transaction: WriteTransaction, content: int, layer: Layer) -> None:
    """Record a verdict, unless the content was freed since the tier looked at it."""
    if transaction.get(CONTENTS, number_key(content)) is not None:
        transaction.put(LAYERS, number_key(content), _encoder.encode(layer))


def is_sampled(digest: bytes) -> bool:
    """Return True if the chunk with this XXH3-128 is in the samples of all layers that have it."""
    return not digest[0] & _SAMPLE_MASK


def sampled_of(hashes: Iterable[tuple[bytes, int, int]]) -> list[SampledChunk]:
    """Return chunks from their XXH3-128, length and stored bytes, each once."""
    found = {
        int.from_bytes(digest[:8], "little"): (length, stored) for digest, length, stored in hashes
    }
    return [SampledChunk(key, *sizes) for key, sizes in found.items()]

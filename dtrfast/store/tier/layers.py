"""Verdicts of the tier on layers: the encoder that made a layer, or the reason to keep it whole."""

from __future__ import annotations

import heapq
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import msgspec

from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import CONTENTS, LAYERS, number_key
from dtrfast.store.tier.encoding import ENCODERS

_VERSION = 1
_SAMPLED = struct.Struct("<QII")  # first 8 bytes of the XXH3-128, length, stored bytes
# A sample has the chunks with the least hashes. So layers that share chunks share sampled ones, and
# a verdict on a layer of 100 GB takes no more memory than one on a small layer.
SAMPLE_MAX = 64
# Bits that tell repeated chunks from others. Of a million chunks, 6 % count as repeated wrongly.
_SEEN_BITS = 1 << 23

NO_ENCODER = -1


@dataclass(frozen=True, slots=True)
class SampledChunk:
    """A chunk of a layer. `stored`: the bytes that it takes in a pack."""

    hash: int
    length: int
    stored: int


class Sample:
    """Collects the sample of one layer. `chunks`: the number of its different chunks."""

    def __init__(self) -> None:
        self.chunks = 0
        self._seen = bytearray(_SEEN_BITS // 8)
        self._sampled: dict[int, SampledChunk] = {}
        self._greatest: list[int] = []  # a heap of the negative hashes of `_sampled`

    def add(self, digest: bytes, length: int, measure: Callable[[], int]) -> None:
        """Add a chunk by its XXH3-128. `measure` returns its stored bytes. It is called only for
        chunks of the sample.
        """
        if self._is_repeated(digest):
            return
        self.chunks += 1
        key = int.from_bytes(digest[:8], "little")
        if len(self._sampled) < SAMPLE_MAX:
            heapq.heappush(self._greatest, -key)
        elif key < -self._greatest[0]:
            del self._sampled[-heapq.heapreplace(self._greatest, -key)]
        else:
            return
        self._sampled[key] = SampledChunk(key, length, measure())

    def encode(self) -> bytes:
        """Return the sample as a verdict has it."""
        some = sorted(self._sampled.values(), key=lambda one: one.hash)
        return b"".join(_SAMPLED.pack(one.hash, one.length, one.stored) for one in some)

    def _is_repeated(self, digest: bytes) -> bool:
        place, bit = divmod(int.from_bytes(digest[8:12], "little") % _SEEN_BITS, 8)
        is_repeated = bool(self._seen[place] >> bit & 1)
        self._seen[place] |= 1 << bit
        return is_repeated or int.from_bytes(digest[:8], "little") in self._sampled


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
    def made_by(cls, encoder: int, plain_size: int, sample: Sample) -> Self:
        """Return the verdict that an encoder made the layer, which has the chunks of `sample`."""
        return cls(_VERSION, encoder, "", len(ENCODERS), plain_size, sample.chunks, sample.encode())

    @property
    def is_current(self) -> bool:
        """False if an encoder that was not tried may have made the layer."""
        return self.encoder != NO_ENCODER or self.known >= len(ENCODERS)

    @property
    def sampled_part(self) -> float:
        """The part of the chunks that is sampled, from 0 to 1."""
        return min(1.0, len(self.sample) / _SAMPLED.size / max(1, self.chunks))

    @property
    def chunks_size(self) -> int:
        """An estimate of the bytes that the chunks of the layer take in packs."""
        stored = sum(one.stored for one in self.sampled())
        return round(stored / self.sampled_part) if stored else 0

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

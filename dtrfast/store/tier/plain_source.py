"""The plain bytes of a layer, inflated and split in batches."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from dtrfast.store.tier import recognition
from dtrfast.store.tier.encoding import Encoder
from dtrfast.store.tier.gzip_frame import TRAILER_SIZE
from dtrfast.store.tier.original import Original
from dtrfast.store.tier.recognition import BROKEN
from dtrfast.store.tier.replays import IDENTITY
from dtrfast.store.tier.tar_splitter import Batch, TarSplitter

TOO_LARGE = "more plain bytes than the limit"
TOO_COMPRESSIBLE = "compressed more than the limit"

# The largest layer, and how many times its gzip bytes its plain bytes may be. Layers have up to 20,
# and a file of zeros has 1,000. The first bytes do not count: a layer may begin with zeros.
PLAIN_SIZE_MAX = 100 << 30
RATIO_MAX = 200
_RATIO_FREE_SIZE = 16 << 20

# Plain bytes of a batch, which are in memory, and those inflated at a time: they stay in a core's
# cache until they are in the batch.
_BATCH_SIZE = 32 << 20
_READ_SIZE = 256 << 10


class LayerKept(Exception):
    """The layer stays whole, for a reason that stays true until there is a new encoder."""


@dataclass(frozen=True, slots=True)
class Framed:
    """A layer, the encoders that may have made it, and its gzip header: empty for the identity."""

    original: Original
    encoders: tuple[Encoder, ...]
    header: bytes

    @property
    def is_plain(self) -> bool:
        """True if the layer is not compressed."""
        return self.encoders[0].id == IDENTITY

    @property
    def body(self) -> tuple[int, int]:
        """Begin and end of the bytes between header and trailer."""
        trailer = 0 if self.is_plain else TRAILER_SIZE
        return len(self.header), self.original.size - trailer


class PlainSource:
    """The plain bytes of one layer. `read_size`: bytes of the original that were read."""

    def __init__(self, framed: Framed) -> None:
        self._framed = framed
        self._original = framed.original
        self.read_size = 0

    def batches(self) -> Iterator[Batch]:
        """The plain bytes in batches. The chunks of a batch are valid until the next.

        Raises `LayerKept`, `Corrupt`, `StorageFailed`.
        """
        splitter = TarSplitter()
        # One buffer for all batches: new memory for each costs as much as the split itself.
        held = memoryview(bytearray(_BATCH_SIZE + _READ_SIZE))
        size = 0
        for piece, is_last in self._pieces():
            held[size : size + len(piece)] = piece
            size += len(piece)
            while size >= _BATCH_SIZE or (is_last and size):
                with held[:size] as part:
                    batch = splitter.split(part, final=is_last)
                    yield batch
                    for chunk in batch.chunks:
                        chunk.release()
                held[: size - batch.size] = held[batch.size : size]
                size -= batch.size

    def _pieces(self) -> Iterator[tuple[bytes, bool]]:
        """Plain bytes, and True for the last piece."""
        self.read_size, end = self._framed.body
        if not self._framed.is_plain:
            yield from self._inflate()
            return
        while self.read_size < end:
            piece = self._read()
            yield piece, self.read_size == end

    def _read(self) -> bytes:
        piece = self._original.read(self.read_size, _READ_SIZE)
        self.read_size += len(piece)
        return piece

    def _inflate(self) -> Iterator[tuple[bytes, bool]]:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        total = 0
        while not inflater.eof:
            taken = inflater.unconsumed_tail or self._read()
            try:
                piece = inflater.decompress(taken, _READ_SIZE)
            except zlib.error as error:
                raise LayerKept(BROKEN) from error
            if not taken and not piece:
                raise LayerKept(BROKEN)  # the stream is cut off
            total += len(piece)
            _check_limits(total, self.read_size)
            yield piece, inflater.eof
        end = self.read_size - len(inflater.unused_data)
        fault = recognition.fault_behind(self._original, end)
        if fault:
            raise LayerKept(fault)


def _check_limits(plain: int, read: int) -> None:
    if plain > PLAIN_SIZE_MAX:
        raise LayerKept(TOO_LARGE)
    if plain > read * RATIO_MAX + _RATIO_FREE_SIZE:
        raise LayerKept(TOO_COMPRESSIBLE)

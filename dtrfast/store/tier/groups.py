"""The gain of conversions, judged for groups of layers that share chunks.

A layer alone gains little: zstd takes about as much as gzip. All the gain is in its later versions.
So the layers are put into groups, and the space of a whole group is estimated from samples of its
chunks.

A store may have a million layers. So the samples are flat numbers, 12 bytes each, in parts by their
hash. One part at a time is sorted, which brings the layers that share a chunk together.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from dtrfast.store.tier.layers import Layer

# Reasons for which a group stays whole.
FIRST_VERSION = "first version"
SMALL_GAIN = "small gain"

# Two layers belong to one group if they share such a part of the smaller one's chunks.
_SHARED_PART_MIN = 0.1
_GAIN_MIN = 0.2

_PARTS = 256
_POSITION_BITS = 32
_POSITION_MASK = (1 << _POSITION_BITS) - 1
# Bits that tell which chunks the layers have that may be converted.
_SHARED_BITS = 1 << 23


@dataclass(slots=True)
class _Part:
    """Samples whose hashes end in one byte: the rest of each hash with the position of its layer,
    and its stored bytes.
    """

    keys: array[int] = field(default_factory=lambda: array("Q"))
    stored: array[int] = field(default_factory=lambda: array("I"))


class Groups:
    """Layers, which are put into groups. Add all of them, then call `verdicts` once.

    A layer has a position, in the order of `add`. It takes up to 2 KB, whatever its size.
    """

    def __init__(self) -> None:
        self._numbers = array("Q")
        self._sizes = array("Q")
        self._chunks = array("Q")
        self._sampled = array("d")  # the part of the chunks that is sampled
        self._is_converted = bytearray()
        self._parts = [_Part() for _ in range(_PARTS)]
        self._shared = bytearray(_SHARED_BITS // 8)
        self._roots = array("Q")

    def add(self, number: int, size: int, layer: Layer, *, is_converted: bool) -> None:
        """Add the layer of a content. `size`: the bytes that its original takes on disk."""
        position = len(self._numbers)
        self._numbers.append(number)
        self._sizes.append(size)
        self._chunks.append(layer.chunks)
        self._sampled.append(layer.sampled_part)
        self._is_converted.append(is_converted)
        self._roots.append(position)
        for one in layer.sampled():
            part = self._parts[one.hash % _PARTS]
            rest = one.hash // _PARTS & _POSITION_MASK
            part.keys.append(rest << _POSITION_BITS | position)
            part.stored.append(one.stored)
            place, bit = divmod(one.hash % _SHARED_BITS, 8)
            self._shared[place] |= 1 << bit

    def may_share(self, layer: Layer) -> bool:
        """Return False if no layer that was added shares a sampled chunk with this one."""
        places = (divmod(one.hash % _SHARED_BITS, 8) for one in layer.sampled())
        return any(self._shared[place] >> bit & 1 for place, bit in places)

    def verdicts(self) -> Iterator[tuple[int, str]]:
        """For each content that is not converted: its number, and the reason for which its group
        stays whole, or nothing.
        """
        self._join()
        count = len(self._numbers)
        members, whole = array("Q", bytes(8 * count)), array("Q", bytes(8 * count))
        for position, size in enumerate(self._sizes):
            members[self._root(position)] += 1
            whole[self._root(position)] += size
        stored = self._stored_sizes()
        for position, number in enumerate(self._numbers):
            root = self._root(position)
            if self._is_converted[position]:
                continue
            if members[root] == 1:
                yield number, FIRST_VERSION
            elif stored[root] > (1 - _GAIN_MIN) * whole[root]:
                yield number, SMALL_GAIN
            else:
                yield number, ""

    # ---- groups ----------------------------------------------------------------------------
    def _join(self) -> None:
        """Join layers that share enough chunks."""
        for pairs in self._pairs():
            for pair, run in groupby(sorted(pairs)):
                one, other = pair >> _POSITION_BITS, pair & _POSITION_MASK
                if sum(1 for _ in run) >= self._shared_min(one, other):
                    self._roots[self._root(other)] = self._root(one)

    def _pairs(self) -> list[array[int]]:
        """Return pairs of layers, once for each sampled chunk that they share.

        A chunk may be in a thousand versions of a layer. So a layer is paired with the one before
        it that has the chunk, and with the first one: versions join one after the other.
        """
        pairs = [array("Q") for _ in range(_PARTS)]
        for run in self._runs():
            first = run[0][0]
            for (before, _), (position, _) in pairwise(run):
                of_layer = pairs[position % _PARTS]
                of_layer.append(position << _POSITION_BITS | before)
                if first != before:
                    of_layer.append(position << _POSITION_BITS | first)
        return pairs

    def _shared_min(self, one: int, other: int) -> float:
        """Return the least number of sampled chunks that two layers of a group share."""
        smaller = min(self._chunks[one], self._chunks[other])
        # Both have the chunks of the lower threshold in their samples.
        return _SHARED_PART_MIN * smaller * min(self._sampled[one], self._sampled[other])

    def _root(self, position: int) -> int:
        roots = self._roots
        while roots[position] != position:
            roots[position] = roots[roots[position]]
            position = roots[position]
        return position

    # ---- space -----------------------------------------------------------------------------
    def _stored_sizes(self) -> array[float]:
        """Return estimates of the bytes that the chunks of each group take, by its root."""
        sizes = array("d", bytes(8 * len(self._numbers)))
        for run in self._runs():
            found: dict[int, tuple[int, float]] = {}
            for position, stored in run:
                root = self._root(position)
                most, sampled = found.get(root, (0, 0.0))
                # The layer with the largest part decides if the chunk is in a sample of the group.
                found[root] = max(most, stored), max(sampled, self._sampled[position])
            for root, (most, sampled) in found.items():
                sizes[root] += most / sampled
        return sizes

    def _runs(self) -> Iterator[list[tuple[int, int]]]:
        """For each sampled chunk the layers that have it: their positions, and its stored bytes."""
        for part in self._parts:
            rows = sorted(zip(part.keys, part.stored, strict=True))
            for _, run in groupby(rows, key=lambda row: row[0] >> _POSITION_BITS):
                yield [(key & _POSITION_MASK, stored) for key, stored in run]

"""Layers as builders make them again: the same files, a tenth of the bytes new, all else moved."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from benchmarks.content.layers import Kind, blobs_of, content
from benchmarks.holdings import Blob
from benchmarks.load import Body

# Changed stretches in a layer, of any place and size: a build writes a few directories anew.
_CHANGES = 8
_CHANGED_PART = 0.1


@dataclass(frozen=True, slots=True)
class Rebuilds:
    """The first layer, and each next one made from the one before it."""

    first: Blob
    others: tuple[Blob, ...]


def rebuilds(folder: Path, kind: Kind, count: int, size: int) -> Rebuilds:
    """A layer of about `size` bytes, and `count` that follow it."""
    source = random.Random(f"rebuilds {kind} {count} {size}")
    new_size = int(size * _CHANGED_PART)
    spare = content(folder, kind, size + count * new_size)
    layer, spare = spare[:size], spare[size:]
    bodies = []
    for number in range(count + 1):
        path = folder / str(number)
        path.write_bytes(layer)
        bodies.append(Body(path, 0, len(layer)))
        layer = _change(layer, spare[:new_size], source)
        spare = spare[new_size:]
    first, *others = blobs_of(bodies)
    return Rebuilds(first, tuple(others))


def _change(layer: bytes, new: bytes, source: random.Random) -> bytes:
    """Replace stretches by new bytes that are up to a tenth longer or shorter."""
    each = len(new) // _CHANGES
    places = sorted(source.sample(range(1, len(layer) - each), _CHANGES))
    pieces, position = [], 0
    for number, place in enumerate(places):
        begin = max(place, position)
        pieces += [layer[position:begin], new[number * each : (number + 1) * each]]
        position = min(begin + int(each * source.uniform(0.9, 1.1)), len(layer))
    return b"".join([*pieces, layer[position:]])

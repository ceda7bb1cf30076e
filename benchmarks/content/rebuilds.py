"""Rebuilt layers: a tenth of the bytes is new, the rest is the same at other offsets."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from benchmarks.content.layers import Kind, blobs_of, content
from benchmarks.holdings import Blob
from benchmarks.load import Body

# Changed ranges of a layer, at random places and of random sizes: a build rewrites directories.
_CHANGES = 8
_CHANGED_PART = 0.1


@dataclass(frozen=True, slots=True)
class Rebuilds:
    """A first layer and its rebuilds. Each rebuild is made from the layer before it."""

    first: Blob
    others: tuple[Blob, ...]


def rebuilds(folder: Path, kind: Kind, count: int, size: int) -> Rebuilds:
    """Make a layer of about `size` bytes and `count` rebuilds."""
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
    """Replace ranges by new bytes that are up to a tenth longer or shorter."""
    each = len(new) // _CHANGES
    places = sorted(source.sample(range(1, len(layer) - each), _CHANGES))
    pieces, position = [], 0
    for number, place in enumerate(places):
        begin = max(place, position)
        pieces += [layer[position:begin], new[number * each : (number + 1) * each]]
        position = min(begin + int(each * source.uniform(0.9, 1.1)), len(layer))
    return b"".join([*pieces, layer[position:]])

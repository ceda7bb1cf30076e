"""The gain of conversions, judged for groups of layers that share chunks.

A layer alone gains little: zstd takes about as much as gzip. All the gain is in its later versions.
So the layers are put into groups, and the space of a whole group is estimated from samples of its
chunks.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass

from dtrfast.store.tier.layers import Layer

# Reasons for which a group stays whole.
FIRST_VERSION = "first version"
SMALL_GAIN = "small gain"

# Two layers belong to one group if they share such a part of the smaller one's chunks.
_SHARED_PART_MIN = 0.1
_GAIN_MIN = 0.2
# A chunk may be in a thousand versions of a layer. A layer is compared with the last ones before it
# that have the chunk: the versions of a layer join one after the other.
_COMPARED_MAX = 8


@dataclass(frozen=True, slots=True)
class Member:
    """A layer of a group. `size`: bytes of its original. `is_converted`: it has a replay recipe."""

    number: int
    size: int
    layer: Layer
    is_converted: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Layers that share chunks. `gain`: the part of their originals' bytes that is saved."""

    members: list[Member]
    gain: float

    @property
    def reason(self) -> str:
        """The reason for which the group stays whole, or nothing."""
        if len(self.members) == 1:
            return FIRST_VERSION
        return SMALL_GAIN if self.gain < _GAIN_MIN else ""


def group(members: Iterable[Member]) -> list[Group]:
    """Put layers into groups, and estimate the gain of each."""
    by_number = {member.number: member for member in members}
    samples: dict[int, set[int]] = {}
    recent: defaultdict[int, deque[int]] = defaultdict(lambda: deque(maxlen=_COMPARED_MAX))
    roots = {number: number for number in by_number}
    for number, member in by_number.items():
        sample = samples[number] = {one.hash for one in member.layer.sampled()}
        shared = Counter(other for key in sample for other in recent[key])
        for other, count in shared.items():
            if count >= _SHARED_PART_MIN * min(len(sample), len(samples[other])):
                roots[_root(roots, other)] = _root(roots, number)
        for key in sample:
            recent[key].append(number)
    grouped: defaultdict[int, list[Member]] = defaultdict(list)
    for number, member in by_number.items():
        grouped[_root(roots, number)].append(member)
    return [Group(some, _gain(some)) for some in grouped.values()]


def _root(roots: dict[int, int], number: int) -> int:
    while roots[number] != number:
        roots[number] = roots[roots[number]]
        number = roots[number]
    return number


def _gain(members: list[Member]) -> float:
    """Estimate the part of the originals' bytes that conversions of all members would save."""
    stored: defaultdict[int, float] = defaultdict(float)
    for member in members:
        sample = list(member.layer.sampled())
        scale = member.layer.chunks / len(sample) if sample else 0.0
        for one in sample:
            # A layer that was converted later has 0 for chunks that others wrote.
            stored[one.hash] = max(stored[one.hash], one.stored * scale)
    whole = sum(member.size for member in members)
    return 1 - sum(stored.values()) / whole if whole else 0.0

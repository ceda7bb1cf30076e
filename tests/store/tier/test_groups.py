"""Groups of layers that share chunks: their gain, and the memory that they need."""

from __future__ import annotations

import random
import tracemalloc

import pytest
import xxhash

from dtrfast.store.tier import layers
from dtrfast.store.tier.groups import FIRST_VERSION, SMALL_GAIN, Groups
from dtrfast.store.tier.layers import SAMPLE_MAX, Layer, Sample

STORED = 1000


def sample_of(*chunks: range) -> Sample:
    """Return the sample of a layer with these chunks."""
    sample = Sample()
    for some in chunks:
        for chunk in some:
            sample.add(xxhash.xxh3_128_digest(str(chunk).encode()), 3000, lambda: STORED)
    return sample


def layer_of(*chunks: range) -> Layer:
    return Layer.made_by(9, 1, sample_of(*chunks))


def verdicts(*members: tuple[Layer, int]) -> list[str]:
    """Return the reasons for layers with the bytes that their originals take."""
    groups = Groups()
    for number, (layer, size) in enumerate(members):
        groups.add(number, size, layer, is_converted=False)
    found = dict(groups.verdicts())
    return [found[number] for number in range(len(members))]


# ---- samples -------------------------------------------------------------------------------------
def test_a_sample_has_the_same_chunks_of_all_layers() -> None:
    first, second = layer_of(range(5000)), layer_of(range(4000, 9000))
    least = max(one.hash for one in first.sampled())
    both = {one.hash for one in layer_of(range(4000, 5000)).sampled() if one.hash <= least}
    assert both <= {one.hash for one in first.sampled()}
    shared = {one.hash for one in first.sampled()} & {one.hash for one in second.sampled()}
    assert 3 < len(shared) < 30, "a fifth of each"
    assert first.chunks_size == pytest.approx(5000 * STORED)


def test_repeated_chunks_count_once() -> None:
    few = sample_of(range(10), range(10))
    assert few.chunks == 10
    many = sample_of(range(5000), range(3000))
    assert many.chunks == pytest.approx(5000, rel=0.01)
    assert many.encode() == sample_of(range(5000)).encode()
    assert len(many.encode()) == SAMPLE_MAX * 16, "a verdict stays small"


def test_only_chunks_of_the_sample_are_measured() -> None:
    measured: list[int] = []
    sample = Sample()
    for number in random.Random(1).sample(range(20_000), 20_000):
        digest = xxhash.xxh3_128_digest(str(number).encode())
        sample.add(digest, 1, lambda: measured.append(1) or 1)  # type: ignore[func-returns-value]
    assert len(measured) < 1000, "compression of all would take most of the time of a look"


# ---- gain ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("count", [50, 1000])
def test_versions_gain_and_others_do_not(count: int) -> None:
    size = count * STORED
    one, next_one = layer_of(range(count)), layer_of(range(count // 10, count + count // 10))
    other = layer_of(range(100_000, 100_000 + count))
    assert verdicts((one, size), (other, size)) == [FIRST_VERSION] * 2
    assert verdicts((one, size), (other, size), (next_one, size)) == ["", FIRST_VERSION, ""]
    half = layer_of(range(count * 7 // 10, count * 17 // 10))  # shares three tenths
    assert verdicts((one, size), (half, size)) == [SMALL_GAIN] * 2


def test_versions_that_drift_are_one_group() -> None:
    """The last shares nothing with the first."""
    steps = [(layer_of(range(n * 300, n * 300 + 1000)), 1000 * STORED) for n in range(10)]
    assert verdicts(*steps) == [""] * 10


def test_a_layer_that_others_have_parts_of() -> None:
    """Its next version shares little with each of the layers that came between them."""
    base = (layer_of(range(1000)), 1000 * STORED)
    parts = [
        (layer_of(range(n * 50, n * 50 + 50), range(9000 + n * 950, 9950 + n * 950)), 1000 * STORED)
        for n in range(20)
    ]
    found = verdicts(base, *parts, base)
    assert (found[0], found[-1]) == ("", "")
    assert found.count(FIRST_VERSION) > 10


def test_the_space_of_layers_of_different_sizes() -> None:
    """A sample has most chunks of a small layer, and few of a large one."""
    large = (layer_of(range(3000)), 3000 * STORED)
    small = [(layer_of(range(n * 300, n * 300 + 300)), 300 * STORED) for n in range(5)]
    groups = Groups()
    for number, (layer, size) in enumerate((large, *small)):
        groups.add(number, size, layer, is_converted=False)
    assert {reason for _, reason in groups.verdicts()} == {""}
    # All chunks of the small ones are in the large one: 3,000 are left of 4,500.
    assert groups._stored_sizes()[groups._root(0)] == pytest.approx(3000 * STORED, rel=0.25)


def test_only_converted_layers_that_share_chunks_are_wanted() -> None:
    groups = Groups()
    groups.add(1, 1, layer_of(range(1000)), is_converted=False)
    assert groups.may_share(layer_of(range(500, 1500)))
    assert not groups.may_share(layer_of(range(5000, 6000)))


# ---- memory --------------------------------------------------------------------------------------
def test_the_memory_of_a_layer_does_not_depend_on_its_size() -> None:
    """A store of 1 TB has some ten thousand layers, and some ten million chunks."""
    chance = random.Random(3)
    count = 200
    shared = [chance.randbytes(8) for _ in range(20)]

    def some_layer() -> Layer:
        hashes = [*shared, *(chance.randbytes(8) for _ in range(SAMPLE_MAX - 20))]
        sample = b"".join(one + (3000).to_bytes(4, "little") * 2 for one in hashes)
        return Layer(1, 9, "", 11, 10**9, 20_000, sample)

    groups = Groups()
    some = [some_layer() for _ in range(count)]
    tracemalloc.start()
    try:
        for number, one in enumerate(some):
            groups.add(number, 10**8, one, is_converted=False)
        assert sum(1 for _ in groups.verdicts()) == count
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most / count < 2500
    assert layers.SAMPLE_MAX == 64, "docs/format.md says so"

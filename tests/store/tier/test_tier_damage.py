"""Damage to an evicted layer is found before a wrong byte is sent, is marked, and heals."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dtrfast.errors import BlobUnknown, Corrupt, FormatUnknown
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import (
    CHUNKS,
    RECIPES,
    REPLAY_SEGMENTS,
    REPLAYS,
    number_key,
    number_of,
)
from dtrfast.oci.digests import Digest
from dtrfast.store import damage
from dtrfast.store.records import Chunk
from dtrfast.store.store import Store
from dtrfast.store.tier import replays
from dtrfast.store.tier.encoding import ENCODERS
from dtrfast.store.tier.replays import SegmentRow
from dtrfast.store.tier.run import RECIPE_DROPPED
from tests.store.conftest import pull, push
from tests.store.holders import drop
from tests.store.test_scrub import findings
from tests.store.tier.layers import (
    content_of,
    convert,
    evict,
    expand,
    layer,
    left_over,
    replay_of,
    tidy,
)


@pytest.fixture
def digest(store: Store) -> Digest:
    """A layer that is converted, not evicted."""
    digest = push(store.blobs, layer())
    convert(store)
    return digest


def received(store: Store, digest: Digest, begin: int = 0, end: int | None = None) -> bytes:
    """Return the bytes of a pull that ends with an error."""
    length = None if end is None else end - begin
    got = bytearray()
    with store.blobs.open_range(digest, begin, length) as reader:
        try:
            for piece in reader:
                assert isinstance(piece, bytes)
                got += piece
        except Corrupt:
            return bytes(got)
    raise AssertionError("the pull did not fail")


def chunks_of(store: Store) -> list[tuple[int, Chunk]]:
    """Return all chunks, in the order of their ids."""
    with store.engine.read() as transaction:
        rows = list(transaction.scan(CHUNKS))
    return [(number_of(key), Chunk.decode(value)) for key, value in rows]


def shared_chunk(store: Store) -> tuple[int, Chunk]:
    """Return the chunk with the most references."""
    return max(chunks_of(store), key=lambda one: one[1].references)


def spoil_chunk(store: Store, place: Chunk) -> None:
    """Change a byte of a chunk on disk."""
    with store._context.chunk_files.lent(place.pack) as descriptor:
        path = Path(f"/proc/self/fd/{descriptor}").resolve()
    with path.open("r+b") as file:
        file.seek(place.offset + place.stored // 2)
        old = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([old[0] ^ 1]))


def change_segment(store: Store, number: int, change: Callable[[SegmentRow], Any]) -> None:
    """Replace the segment with a number by what `change` returns; None deletes it."""

    def write(transaction: WriteTransaction) -> None:
        key, value = list(transaction.scan(REPLAY_SEGMENTS))[number]
        row = change(SegmentRow.decode(value))
        if row is None:
            transaction.delete(REPLAY_SEGMENTS, key)
        else:
            transaction.put(REPLAY_SEGMENTS, key, row if isinstance(row, bytes) else row.encode())

    store.engine.write(write)


def change_replay(store: Store, digest: Digest, **fields: Any) -> None:
    replay = msgspec.structs.replace(replay_of(store, digest), **fields)
    key = number_key(content_of(store, digest).number)
    store.engine.write(lambda t: t.put(REPLAYS, key, replays.encode(replay)))


def change_state(row: SegmentRow) -> SegmentRow:
    state = bytearray(row.state)
    state[len(state) // 2] ^= 0xFF
    return SegmentRow(row.plain_begin, row.hash, bytes(state))


def delete_slices(store: Store, recipe: int) -> None:
    with store.engine.read() as transaction:
        key = list(transaction.scan(RECIPES, number_key(recipe)))[-1][0]
    store.engine.write(lambda t: t.delete(RECIPES, key))


def delete_replay(store: Store, content: int) -> None:
    store.engine.write(lambda t: t.delete(REPLAYS, number_key(content)))


Spoil = Callable[[Store, Digest], object]
KINDS: dict[str, Spoil] = {
    "a chunk": lambda store, digest: spoil_chunk(store, chunks_of(store)[-1][1]),
    "the first chunk": lambda store, digest: spoil_chunk(store, chunks_of(store)[0][1]),
    "the hash of a segment": lambda store, _: change_segment(
        store, 3, lambda row: SegmentRow(row.plain_begin, b"x" * 16, row.state)
    ),
    "the state of a segment": lambda store, _: change_segment(store, 3, change_state),
    "no state": lambda store, _: change_segment(
        store, 3, lambda row: SegmentRow(row.plain_begin, row.hash, b"")
    ),
    "the place of a segment": lambda store, _: change_segment(
        store, 3, lambda row: SegmentRow(row.plain_begin + 1, row.hash, row.state)
    ),
    "a huge place": lambda store, _: change_segment(
        store, 3, lambda row: SegmentRow(1 << 62, row.hash, row.state)
    ),
    "a segment before the last": lambda store, _: change_segment(
        store, 3, lambda row: SegmentRow(0, row.hash, row.state)
    ),
    "a missing segment": lambda store, _: change_segment(store, 3, lambda row: None),
    "the first segment is missing": lambda store, _: change_segment(store, 0, lambda row: None),
    "a short segment": lambda store, _: change_segment(store, 3, lambda row: b"\x01"),
    "the header": lambda store, digest: change_replay(
        store, digest, header=b"\x1f\x8b\x08\0\x01\0\0\0\0\x03"
    ),
    "the trailer": lambda store, digest: change_replay(store, digest, trailer=b"12345678"),
    "the size": lambda store, digest: change_replay(
        store, digest, plain_size=replay_of(store, digest).plain_size - 1
    ),
    "another encoder": lambda store, digest: change_replay(store, digest, encoder=1),
    "a row of slices": lambda store, digest: delete_slices(store, replay_of(store, digest).recipe),
    "the recipe": lambda store, digest: delete_replay(store, content_of(store, digest).number),
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_wrong_byte_is_sent(store: Store, digest: Digest, kind: str) -> None:
    evict(store)
    KINDS[kind](store, digest)
    if kind == "the recipe":
        with pytest.raises(Corrupt, match="push it again"):
            store.blobs.open_range(digest)
    else:
        got = received(store, digest)
        assert layer().startswith(got)
        assert len(got) < len(layer())
    with pytest.raises(BlobUnknown, match="damaged"):
        store.blobs.open_range(digest)
    assert store.statistics().damaged_blobs == 1
    assert push(store.blobs, layer()) == digest
    assert pull(store.blobs, digest) == layer()
    assert content_of(store, digest).content.kind == "loose"
    if kind in ("a chunk", "the first chunk"):
        tidy(store)
        counts = store.statistics()
        assert (counts.damaged_blobs, counts.damaged_chunks) == (0, 0)
        assert convert(store).layers == 1
        evict(store)
        assert pull(store.blobs, digest) == layer()
        assert findings(store) == []
        drop(store.blobs, digest)
        tidy(store)
        assert left_over(store) == {}


@pytest.mark.parametrize("kind", ["the header", "the trailer"])
def test_ranges_of_a_changed_header_or_trailer(store: Store, digest: Digest, kind: str) -> None:
    evict(store)
    KINDS[kind](store, digest)
    size = len(layer())
    begin, end = (0, 10) if kind == "the header" else (size - 8, size)
    assert received(store, digest, begin, end) == b""


@pytest.mark.parametrize("kind", KINDS)
def test_verify_finds_what_is_wrong_with_rows(store: Store, digest: Digest, kind: str) -> None:
    evict(store)
    assert findings(store) == []
    KINDS[kind](store, digest)
    by_reading = {
        *("a chunk", "the first chunk", "the hash of a segment", "the state of a segment"),
        *("no state", "the place of a segment", "a missing segment", "another encoder"),
    }
    assert bool(findings(store)) == (kind not in by_reading)
    sum(store.check_contents())
    assert store.statistics().damaged_blobs == 1, "a scrub finds it"
    with pytest.raises(BlobUnknown):
        store.blobs.stat(digest)


def test_ranges_before_the_damage_are_served(store: Store, digest: Digest) -> None:
    evict(store)
    KINDS["the hash of a segment"](store, digest)
    with store.blobs.open_range(digest, 0, 20_000) as reader:
        assert (
            b"".join(bytes(piece) for piece in reader if isinstance(piece, bytes))
            == (layer()[:20_000])
        )
    assert store.statistics().damaged_blobs == 0


def test_a_converted_layer_with_a_damaged_chunk_is_served_and_not_evicted(
    store: Store, digest: Digest
) -> None:
    _, place = chunks_of(store)[0]
    spoil_chunk(store, place)
    sum(store.check_contents())
    assert store.trace_damage() == 0
    counts = store.statistics()
    assert (counts.damaged_blobs, counts.damaged_chunks) == (0, 1)
    assert pull(store.blobs, digest) == layer()
    result = evict(store)
    assert (result.layers, dict(result.kept)) == (0, {RECIPE_DROPPED: 1})
    tidy(store)
    assert pull(store.blobs, digest) == layer()
    assert store.statistics().damaged_chunks == 0
    assert findings(store) == []
    assert convert(store).layers == 1
    assert evict(store).layers == 1
    assert pull(store.blobs, digest) == layer()


def test_a_scrub_traces_a_damaged_chunk_to_evicted_layers(store: Store, digest: Digest) -> None:
    other = push(store.blobs, layer(1))
    kept = push(store.blobs, layer(2))
    convert(store)
    evict(store, [digest, other])
    _, place = shared_chunk(store)
    spoil_chunk(store, place)
    for _ in store.check_contents():
        pass
    store.trace_damage()
    assert store.statistics().damaged_blobs == 2
    assert pull(store.blobs, kept) == layer(2)
    spoil_chunk(store, place)
    sum(store.check_contents())
    counts = store.statistics()
    assert (counts.damaged_blobs, counts.damaged_chunks) == (0, 0), "it can be read again"
    for one, body in ((digest, layer()), (other, layer(1))):
        assert pull(store.blobs, one) == body


def test_trace_marks_evicted_layers_alone(store: Store, digest: Digest) -> None:
    other = push(store.blobs, layer(1))
    convert(store)
    evict(store, [digest])
    number, _ = shared_chunk(store)
    damage.mark_chunk(store._context, number, "a test")
    assert store.trace_damage() == 1
    with pytest.raises(BlobUnknown):
        store.blobs.stat(digest)
    assert pull(store.blobs, other) == layer(1)


def test_a_damaged_layer_is_named_by_an_expansion(store: Store, digest: Digest) -> None:
    other = push(store.blobs, layer(1))
    convert(store)
    evict(store)
    change_segment(store, 3, change_state)
    for _ in range(2):
        assert [named for named, _ in expand(store).failed] == [digest]
    assert pull(store.blobs, other) == layer(1)
    assert Store.read_features(store.layout.data).has_tier
    push(store.blobs, layer())
    tidy(store)
    assert expand(store).failed == []
    assert not Store.read_features(store.layout.data).has_tier
    assert findings(store) == []


def test_an_encoder_of_a_newer_version_is_no_damage(
    store: Store, digest: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    evict(store)
    monkeypatch.delitem(ENCODERS, 9)
    with pytest.raises(FormatUnknown, match="run a newer dtrfast"):
        store.blobs.open_range(digest)
    sum(store.check_contents())
    assert store.statistics().damaged_blobs == 0
    assert any("needs encoder 9" in one for one in findings(store))
    monkeypatch.undo()
    assert pull(store.blobs, digest) == layer()


def test_damage_by_the_disk_that_passes_is_cleared(
    store: Store, digest: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    evict(store)

    def fail(place: Chunk) -> bytes:
        raise Corrupt("a test")

    with monkeypatch.context() as patch:
        patch.setattr(store._context.chunk_files, "read", fail)
        received(store, digest)
    assert store.statistics().damaged_blobs == 1
    sum(store.check_contents())
    assert store.statistics().damaged_blobs == 0
    assert pull(store.blobs, digest) == layer()


def test_a_chunk_that_moves_while_it_is_read_is_no_damage(
    store: Store, digest: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compaction moves it twice."""
    evict(store)
    monkeypatch.setattr(store._context.replay_pool, "_threads_max", 1)
    read = store._context.chunk_files.read
    moves = 2
    number, place = chunks_of(store)[0]

    def move(wanted: Chunk) -> bytes:
        nonlocal moves
        if wanted.hash == place.hash and moves:
            moves -= 1
            now = msgspec.structs.replace(place, pack=1000 + moves if moves else place.pack)
            store.engine.write(lambda t: t.put(CHUNKS, number_key(number), now.encode()))
            raise Corrupt("the pack is gone")
        return read(wanted)

    monkeypatch.setattr(store._context.chunk_files, "read", move)
    assert pull(store.blobs, digest) == layer()
    assert moves == 0
    assert store.statistics().damaged_blobs == 0


def test_random_bytes_in_packs(store: Store, digest: Digest) -> None:
    """Whatever is changed, a pull gives a beginning of the layer, or all of it."""
    evict(store)
    choices = random.Random(1)
    for _ in range(6):
        _, place = choices.choice(chunks_of(store))
        spoil_chunk(store, place)
        with store.blobs.open_range(digest) as reader:
            got = b""
            try:
                for piece in reader:
                    assert isinstance(piece, bytes)
                    got += piece
            except Corrupt:
                pass
        assert layer().startswith(got)
        spoil_chunk(store, place)
        sum(store.check_contents())
        assert pull(store.blobs, digest) == layer()

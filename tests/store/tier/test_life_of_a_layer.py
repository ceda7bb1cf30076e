"""A layer is converted, evicted, pulled, expanded and freed."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from dtrfast.index.tables import REPLAY_SEGMENTS, REPLAYS
from dtrfast.store import records
from dtrfast.store.store import Store
from dtrfast.store.tier import replays
from tests.store.blob_contract import read
from tests.store.conftest import digest_of, files_below, pull, push
from tests.store.holders import OTHER, drop
from tests.store.test_scrub import findings
from tests.store.tier.layers import (
    content_of,
    convert,
    evict,
    evicted,
    expand,
    keys,
    layer,
    left_over,
    plain_layer,
    replay_of,
    tar,
    text,
    tidy,
)


def test_a_layer_is_converted_evicted_and_pulled(store: Store, data: Path) -> None:
    digest = push(store.blobs, layer())
    assert convert(store).layers == 1
    assert content_of(store, digest).content.kind == "loose"
    assert pull(store.blobs, digest) == layer()
    assert convert(store).layers == 0, "it is converted"
    assert findings(store) == []
    assert evict(store).bytes == len(layer())
    assert evict(store).layers == 0
    tidy(store)
    assert files_below(data, "blobs") == []
    assert content_of(store, digest).content.kind == "recreated"
    assert pull(store.blobs, digest) == layer()
    assert store.blobs.stat(digest).size == len(layer())
    assert findings(store) == []
    assert convert(store).layers == 0


def test_ranges_of_an_evicted_layer(store: Store) -> None:
    body = layer()
    (digest,) = evicted(store, body)
    replay = replay_of(store, digest)
    begins = [
        len(replay.header) + records.recipe_offset(key) for key in keys(store, REPLAY_SEGMENTS)
    ]
    assert len(begins) > 3
    size = len(body)
    edges = {edge + step for edge in (*begins, size - 8, size) for step in (-1, 0, 1)}
    offsets = sorted(edge for edge in edges if 0 <= edge <= size)
    for offset in offsets:
        assert read(store.blobs, digest, offset, min(1, size - offset)) == body[offset : offset + 1]
    ranges = [
        (0, 10, "the header"),
        (size - 8, size, "the trailer"),
        (3, 7, "a part of the header"),
        (9, 11, "the end of the header"),
        (size - 9, size - 7, "the beginning of the trailer"),
        (0, 0, "nothing at the beginning"),
        (size, size, "nothing at the end"),
        (begins[2], begins[3], "a segment"),
        (begins[2] - 1, begins[3] + 1, "a segment and its neighbors"),
        (1, size, "all but the first byte"),
        (0, size - 1, "all but the last byte"),
        (0, size, "all"),
    ]
    for begin, end, what in ranges:
        assert read(store.blobs, digest, begin, end - begin) == body[begin:end], what


def test_two_encoders_of_one_tar_share_their_chunks(store: Store) -> None:
    """The same file in a gzip layer, in an uncompressed one and behind a longer name."""
    plain = plain_layer()
    named = b"\x1f\x8b\x08\x08\0\0\0\0\0\x03name\0" + layer()[10:]
    digests = evicted(store, layer())
    before = store.statistics()
    digests += evicted(store, named, plain)
    after = store.statistics()
    assert after.chunks == before.chunks
    # Besides the chunks there are copies of recipes.
    assert after.pack_bytes - before.pack_bytes < 20_000
    for digest, body in zip(digests, (layer(), named, plain), strict=True):
        assert pull(store.blobs, digest) == body
    assert findings(store) == []


def test_an_uncompressed_layer_needs_no_encoder(store: Store) -> None:
    plain = plain_layer()
    (digest,) = evicted(store, plain)
    assert replay_of(store, digest).encoder == replays.IDENTITY
    assert content_of(store, digest).content.kind == "recreated"
    assert pull(store.blobs, digest) == plain
    for offset in (0, 1, 511, 512, 49151, 49152, 49153, len(plain) - 1):
        assert read(store.blobs, digest, offset, 1) == plain[offset : offset + 1]
    assert findings(store) == []
    assert expand(store).layers == 1
    assert content_of(store, digest).content.kind == "loose"
    assert pull(store.blobs, digest) == plain
    drop(store.blobs, digest)
    tidy(store)
    assert left_over(store) == {}


def test_an_expansion_makes_files_again(store: Store, data: Path) -> None:
    digests = evicted(store, layer(), layer(1))
    kept = push(store.blobs, layer(2))
    assert convert(store).layers == 1
    result = expand(store)
    assert (result.layers, result.bytes) == (3, len(layer()) + len(layer(1)))
    for digest, body in zip([*digests, kept], (layer(), layer(1), layer(2)), strict=True):
        assert content_of(store, digest).content.kind == "loose"
        assert pull(store.blobs, digest) == body
    tidy(store)
    assert keys(store, REPLAYS) == []
    assert files_below(data, "packs") == []
    statistics = store.statistics()
    assert (statistics.converted_blobs, statistics.plain_bytes, statistics.chunks) == (0, 0, 0)
    assert findings(store) == []


@pytest.mark.parametrize("state", ["converted", "evicted"])
@pytest.mark.parametrize("kind", ["gzip", "uncompressed"])
def test_a_layer_that_is_deleted_leaves_nothing(
    store: Store, data: Path, state: str, kind: str
) -> None:
    body = layer() if kind == "gzip" else plain_layer()
    digest = push(store.blobs, body)
    convert(store)
    if state == "evicted":
        evict(store)
    drop(store.blobs, digest)
    tidy(store)
    assert left_over(store) == {}
    assert files_below(data, "blobs", "packs") == []
    counts = store.statistics()
    assert (counts.blobs, counts.recreated_bytes, counts.converted_blobs) == (0, 0, 0)
    assert (counts.chunk_bytes, counts.pack_bytes, counts.plain_bytes) == (0, 0, 0)
    assert findings(store) == []


def test_chunks_of_a_deleted_layer_stay_for_the_next_version(store: Store) -> None:
    one, two = evicted(store, layer(), layer(1))
    drop(store.blobs, one)
    tidy(store)
    assert pull(store.blobs, two) == layer(1)
    assert findings(store) == []
    drop(store.blobs, two)
    tidy(store)
    assert left_over(store) == {}


def test_a_push_of_an_evicted_layer_finds_it(store: Store, data: Path) -> None:
    (digest,) = evicted(store, layer())
    number = content_of(store, digest).number
    assert push(store.blobs, layer(), OTHER) == digest
    assert content_of(store, digest).number == number
    tidy(store)
    assert files_below(data, "blobs") == []
    assert pull(store.blobs, digest) == layer()


def test_an_evicted_layer_has_both_names(store: Store) -> None:
    body = layer()
    upload = store.blobs.begin("some/name")
    upload.append(body)
    name = digest_of(body, "sha512")
    with store.blobs.commit(upload, name) as placed:
        placed.settle()
    assert convert(store, [name]).layers == 1
    assert evict(store, [name]).layers == 1
    for one in (name, digest_of(body)):
        assert pull(store.blobs, one) == body
        assert store.blobs.open_range(one).stat.digest == one


@pytest.mark.parametrize("size", [0, 1, 511, 5000])
def test_gzip_of_few_bytes(store: Store, size: int) -> None:
    """A header with a long comment makes the file large enough to be no inline blob."""
    head = b"\x1f\x8b\x08\x10\0\0\0\0\0\x03" + random.Random(1).randbytes(9000).replace(b"\0", b"x")
    body = head + b"\0" + gzip.compress(text("few", size), 6, mtime=0)[10:]
    (digest,) = evicted(store, body)
    assert replay_of(store, digest).plain_size == size
    assert pull(store.blobs, digest) == body
    assert read(store.blobs, digest, 9011, 1) == body[9011:9012]
    assert findings(store) == []
    expand(store)
    assert pull(store.blobs, digest) == body


def test_a_layer_that_is_no_tar_is_cut_as_an_upload_is(store: Store) -> None:
    plain = text("no tar", 700_000)
    body = gzip.compress(plain, 6, mtime=0)
    (digest,) = evicted(store, body)
    assert pull(store.blobs, digest) == body
    chunks = store.statistics().chunks
    push(store.blobs, plain, OTHER)
    assert store.statistics().chunks == chunks, "an uncompressed upload shares all of them"


def test_names_of_entries_mean_nothing(store: Store) -> None:
    names = ["../../etc/passwd", "/etc/passwd", "a/../b", "é\n\x01", "x" * 300, "."]
    body = gzip.compress(tar([(name, text(name, 5000)) for name in names]), 6, mtime=0)
    (digest,) = evicted(store, body)
    assert pull(store.blobs, digest) == body

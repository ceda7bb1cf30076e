"""Deduplication: chunks are compared by their bytes, and compressed where that pays."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import xxhash

from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import CHUNK_HASHES, CHUNKS, number_key
from dtrfast.store.records import Chunk
from dtrfast.store.store import Store
from tests.store.conftest import files_below, pull, push
from tests.store.holders import OTHER


def random_bytes(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def test_a_blob_that_shares_most_of_its_bytes_adds_little(store: Store) -> None:
    first = random_bytes(20_000_000)
    second = first[:9_000_000] + b"changed!" + first[9_000_010:]
    push(store.blobs, first)
    before = store.statistics().stored_bytes
    digest = push(store.blobs, second)
    added = store.statistics().stored_bytes - before
    assert added < 0.05 * len(second)
    assert pull(store.blobs, digest) == second


def test_a_blob_of_known_chunks_leaves_no_pack(store: Store, data: Path) -> None:
    body = random_bytes(5_000_000)
    push(store.blobs, body)
    packs = files_below(data, "packs")
    # The shorter blob has the cuts of the first blob, except for its last chunk. Only that chunk is
    # stored by its first push.
    shorter = body[:-700_000]
    push(store.blobs, shorter)
    assert len(files_below(data, "packs")) <= len(packs) + 1
    push(store.blobs, shorter, OTHER)
    assert files_below(data, "uploads") == []


def test_zeros_are_stored_once(store: Store) -> None:
    digest = push(store.blobs, bytes(40_000_000))
    statistics = store.statistics()
    assert statistics.chunks <= 2
    assert statistics.pack_bytes < 10_000
    assert pull(store.blobs, digest) == bytes(40_000_000)


def test_text_is_compressed_and_noise_is_not(store: Store) -> None:
    text = b"".join(b"line %d of a text\n" % n for n in range(300_000))
    push(store.blobs, text)
    assert store.statistics().pack_bytes < len(text) / 2
    noise = random_bytes(5_000_000)
    before = store.statistics().pack_bytes
    push(store.blobs, noise)
    assert len(noise) < store.statistics().pack_bytes - before < len(noise) * 1.01


def test_text_after_noise_is_compressed_again(store: Store) -> None:
    text = b"".join(b"line %d of a text\n" % n for n in range(500_000))
    digest = push(store.blobs, random_bytes(5_000_000) + text)
    assert store.statistics().pack_bytes < 5_000_000 + len(text) / 2
    assert pull(store.blobs, digest) == random_bytes(5_000_000) + text


def test_compressed_content_is_a_file_byte_for_byte(store: Store, data: Path) -> None:
    body = b"\x1f\x8b" + random_bytes(100_000)
    push(store.blobs, body)
    (name,) = files_below(data, "blobs")
    assert next((data / "blobs").rglob(name)).read_bytes() == body
    assert files_below(data, "packs") == []


def test_an_equal_hash_with_other_bytes_gets_an_id_of_its_own(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XXH3 does not resist collisions.

    With a hash that always collides, no content is substituted.
    """
    monkeypatch.setattr(xxhash, "xxh3_128_digest", lambda data: bytes(16))
    bodies = [random_bytes(600_000, seed) for seed in range(4)]
    digests = [push(store.blobs, body) for body in bodies]
    assert [pull(store.blobs, digest) for digest in digests] == bodies
    with store.engine.read() as transaction:
        assert sum(1 for _ in transaction.scan(CHUNK_HASHES, bytes(16))) > 10


def test_a_damaged_chunk_is_not_shared(store: Store, data: Path) -> None:
    """A hit is compared with the bytes on disk. Damage makes it a miss, and the push stores good
    bytes.
    """
    body = random_bytes(1_000_000)
    push(store.blobs, body)
    (name,) = files_below(data, "packs")
    path = next((data / "packs").rglob(name))
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    other = body + b"another ending"
    assert pull(store.blobs, push(store.blobs, other)) == other


def test_a_chunk_that_cannot_be_read_is_not_shared(store: Store, data: Path) -> None:
    body = random_bytes(1_000_000)
    push(store.blobs, body)
    store._context.chunk_files.close()
    (name,) = files_below(data, "packs")
    next((data / "packs").rglob(name)).unlink()
    other = body + b"another ending"
    assert pull(store.blobs, push(store.blobs, other)) == other


def test_references_count_every_use(store: Store) -> None:
    push(store.blobs, bytes(3_000_000))

    def references(transaction: WriteTransaction) -> list[int]:
        return [Chunk.decode(value).references for _, value in transaction.scan(CHUNKS)]

    counts = store.engine.write(references)
    push(store.blobs, bytes(3_000_001))
    assert sum(store.engine.write(references)) > sum(counts)
    with store.engine.read() as transaction:
        assert transaction.get(CHUNKS, number_key(1)) is not None

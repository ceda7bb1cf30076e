"""Layers as clients make them, and the tier's work on them, for its tests."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from collections.abc import Collection, Iterable
from functools import cache

from dtrfast.index.engine import Table
from dtrfast.index.tables import (
    CHUNK_HASHES,
    CHUNKS,
    CONTENTS,
    DAMAGES,
    FILES,
    FILES_UNOWNED,
    LAYERS,
    PACKS,
    PACKS_SPARSE,
    RECIPES,
    REPLAY_CONTENTS,
    REPLAY_SEGMENTS,
    REPLAYS,
    REPLAYS_UNFINISHED,
)
from dtrfast.oci.digests import Digest
from dtrfast.store import contents
from dtrfast.store.contents import NumberedContent
from dtrfast.store.store import Store
from dtrfast.store.tier import replays
from dtrfast.store.tier.replays import Replay
from dtrfast.store.tier.run import TierResult
from tests.store.conftest import push, run
from tests.store.holders import release

# The tables of a store that has no content any more are empty.
TABLES = (
    *(CHUNKS, CHUNK_HASHES, CONTENTS, DAMAGES, FILES, FILES_UNOWNED, LAYERS, PACKS, PACKS_SPARSE),
    *(RECIPES, REPLAYS, REPLAY_CONTENTS, REPLAY_SEGMENTS, REPLAYS_UNFINISHED),
)

_WORDS = [
    bytes(random.Random(n).choices(b"abcdefghijklmnop_()=. ", k=2 + n % 9)) for n in range(900)
]


@cache
def text(seed: int | str, size: int) -> bytes:
    """Return bytes that compress to about a third."""
    return b" ".join(random.Random(seed).choices(_WORDS, k=1 + size // 4))[:size]


def tar(files: Iterable[tuple[str, bytes]], mtime: int = 0) -> bytes:
    """Return a tar of files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, body in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(body), mtime
            archive.addfile(entry, io.BytesIO(body))
    return buffer.getvalue()


@cache
def plain_layer(changed: int = 0, mtime: int = 0) -> bytes:
    """Return the tar of a version of a layer: small files, and a large one. One file is changed."""
    small = [(f"small/{n}", text(f"{n}", 200 + 977 * n % 9000)) for n in range(40)]
    small[20] = ("small/20", text(f"changed {changed}", 3000))
    return tar([*small, ("large", text("large", 200_000)), ("last", b"end")], mtime)


@cache
def layer(changed: int = 0, mtime: int = 0) -> bytes:
    """Return a version of a layer as zlib compresses it."""
    return gzip.compress(plain_layer(changed, mtime), 6, mtime=0)


@cache
def small_layer() -> bytes:
    """Return a layer of few chunks and two segments."""
    files = [(str(n), text(f"{n}", 9000)) for n in range(5)]
    return gzip.compress(tar([*files, ("large", text("large", 110_000))]), 6, mtime=0)


def convert(
    store: Store, only: Collection[Digest] | None = None, *, with_first: bool = True
) -> TierResult:
    """Convert layers."""
    work = store.tier_run()
    for _ in store.convert_layers(work, only, with_first=with_first):
        pass
    return work.result


def evict(store: Store, only: Collection[Digest] | None = None) -> TierResult:
    """Evict converted layers."""
    work = store.tier_run()
    for _ in work.evict(only, pushed_before=None):
        pass
    return work.result


def expand(store: Store) -> TierResult:
    """Re-create all originals."""
    work = store.tier_run()
    for _ in store.expand_layers(work):
        pass
    return work.result


def content_of(store: Store, digest: Digest) -> NumberedContent:
    """Return the content with a digest."""
    with store.engine.read() as transaction:
        found = contents.find(transaction, digest)
    assert found is not None
    return found


def replay_of(store: Store, digest: Digest) -> Replay:
    """Return the replay recipe of a content."""
    number = content_of(store, digest).number
    with store.engine.read() as transaction:
        found = replays.find(transaction, number)
    assert found is not None
    return found


def keys(store: Store, table: Table) -> list[bytes]:
    """Return the keys of a table."""
    with store.engine.read() as transaction:
        return [key for key, _ in transaction.scan(table)]


def left_over(store: Store) -> dict[str, int]:
    """Return the number of rows in each table of content that has any."""
    counts = {table.name: len(keys(store, table)) for table in TABLES}
    return {name: count for name, count in counts.items() if count}


def tidy(store: Store, rounds: int = 3) -> None:
    """Free all that nothing needs: run the tasks of the housekeeper that do so."""
    for _ in range(rounds):
        release(store.blobs)
        for name in ("unlinked contents", "unfinished conversions", "sparse packs"):
            run(store, name)


def evicted(store: Store, *bodies: bytes) -> list[Digest]:
    """Push layers, convert and evict them; return their digests."""
    digests = [push(store.blobs, body) for body in bodies]
    assert convert(store).layers == len(bodies)
    assert evict(store).layers == len(bodies)
    tidy(store)
    return digests

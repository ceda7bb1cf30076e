"""A rebuild of the local tables from the data files alone, for a repair.

Packs name their chunks and have the recipes of chunked blobs. The digests of loose files are
computed. Contents that no repository holds are left to reclaim. The index must be new, and no other
process may use the store.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from dtrfast import _core
from dtrfast.errors import Corrupt, DtrfastError, FormatUnknown
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import (
    BLOBS,
    CHUNK_HASHES,
    CHUNKS,
    CONTENTS,
    FILES,
    PACKS,
    PACKS_SPARSE,
    RECIPES,
    STORE,
    number_key,
    number_of,
)
from dtrfast.machine import disk
from dtrfast.oci.digests import Digest
from dtrfast.store import contents, damage, packs, recipes, reclaim, records, statistics, unowned
from dtrfast.store.blobs import IsHeld
from dtrfast.store.checking import bytes_of
from dtrfast.store.context import StoreContext
from dtrfast.store.packs import PackEntry, RecipePiece, ReplayPiece
from dtrfast.store.recipe_candidates import RecipeCandidate, RecipeCandidates, batches
from dtrfast.store.records import (
    LOOSE_FILE,
    Chunk,
    Content,
    Pack,
    decode_content,
    decode_pack,
    encode,
)
from dtrfast.store.tier.replay_candidates import ReplayCandidates

T = TypeVar("T")

_READ_SIZE = 1 << 20

Tell = Callable[[str], None]
Progress = Callable[[int], None]  # bytes read


class Rebuild:
    """Rebuilds the tables of one store. `tell` gets a sentence for each damaged file or blob."""

    def __init__(self, context: StoreContext, tell: Tell, progress: Progress) -> None:
        self._context = context
        self._tell = tell
        self._progress = progress
        self._chunk_id = 0
        self._candidates = RecipeCandidates(context, tell)
        self._replay_candidates = ReplayCandidates(context, tell)

    def run(self) -> None:
        """Remove all uploads and index all data files.

        After that `contents.find` finds the contents.
        """
        for path in self._context.layout.uploads.iterdir():
            disk.remove(path)
        for path in self._files(self._context.layout.packs):
            self._add_pack(path)
        next_id = number_key(self._chunk_id + 1)
        self._write(lambda transaction: transaction.put(STORE, b"chunk_id", next_id))
        self._candidates.choose_all()
        for path in self._files(self._context.layout.blobs):
            self._add_loose(path)
        self._replay_candidates.choose_all()

    def finish(self, is_held: IsHeld) -> None:
        """List contents that no repository holds, and sparse packs, for reclaim."""
        reclaim.list_unheld(self._context.engine, is_held, self._context.clock())
        with self._context.engine.read() as transaction:
            keys = [key for key, _ in transaction.scan(PACKS)]
        for some in batches(keys):
            self._write(partial(_list_sparse, keys=some))

    def _write(self, change: Callable[[WriteTransaction], T]) -> T:
        return self._context.engine.write(change)

    def _files(self, directory: Path) -> Iterator[Path]:
        for path in sorted(directory.glob("*/*")):
            try:
                uuid.UUID(hex=path.name)
            except ValueError:
                self._tell(f"{path.name} is not a file of dtrfast: it was not touched")
            else:
                yield path

    # ---- packs ---------------------------------------------------------------------------------
    def _add_pack(self, path: Path) -> None:
        size = path.stat().st_size
        descriptor = disk.open_existing(path)
        try:
            self._read_pack(path, descriptor, size)
        except DtrfastError as error:
            self._tell(f"the pack {path.name} cannot be read: {error}")
        finally:
            os.close(descriptor)
        self._progress(size)

    def _read_pack(self, path: Path, descriptor: int, size: int) -> None:
        file_id = packs.check_header(disk.read_at(descriptor, min(size, packs.HEADER_SIZE), 0))
        if file_id.hex() != path.name:
            raise Corrupt("its header has the id of another pack")
        number = self._context.numbers.take()
        end = packs.HEADER_SIZE
        found: dict[bytes, RecipeCandidate] = {}
        for record, behind in packs.walk(descriptor, size):
            begin, end = end, behind
            if isinstance(record, ReplayPiece):
                self._replay_candidates.index_piece(number, record, end - begin)
            elif isinstance(record, RecipePiece):
                self._candidates.index_piece(number, record, found)
            else:
                for some in batches(record):
                    self._write(partial(_put_chunks, pack=number, entries=some))
                self._chunk_id = max(self._chunk_id, *(entry.id for entry in record), 0)
        self._candidates.add_pack(found)
        if end < size:
            self._tell(f"the pack {path.name} ends at {end} of {size} bytes: the rest is torn")
        pack = Pack(version=1, file_id=file_id, size=end, live=0, created_at=self._context.clock())
        self._write(partial(_put_pack, number=number, pack=pack))

    # ---- loose files ---------------------------------------------------------------------------
    def _add_loose(self, path: Path) -> None:
        hasher = _core.Sha256()
        descriptor = disk.open_existing(path)
        try:
            size = os.fstat(descriptor).st_size
            for offset in range(0, size, _READ_SIZE):
                hasher.update(disk.read_at(descriptor, min(_READ_SIZE, size - offset), offset))
        except DtrfastError as error:
            self._tell(f"the file {path.name} cannot be read: {error}")
            return
        finally:
            os.close(descriptor)
        self._progress(size)
        content = Content(
            version=1,
            kind="loose",
            size=size,
            stored=size,
            sha256=hasher.digest(),
            sha512=None,
            file_id=bytes.fromhex(path.name),
            pushed_at=self._context.clock(),
        )
        number = self._context.numbers.take()
        self._write(partial(_put_loose, number=number, content=content))


def add_inline(context: StoreContext, body: bytes, now: int) -> None:
    """Index an inline content, whose bytes come from the change log.

    `now`: seconds since the epoch.
    """
    number = context.numbers.take()
    context.engine.write(partial(_put_inline, number=number, body=body, now=now))


def add_sha512_names(context: StoreContext, wanted: set[bytes]) -> None:
    """Name the contents with these SHA-512 digests. Reads all contents.

    Skips contents that cannot be read: damaged ones, which a later check marks, and evicted layers
    of an encoder that this version does not have.
    """
    with context.engine.read() as transaction:
        rows = list(transaction.scan(CONTENTS))
    for key, data in rows:
        content = decode_content(data)
        name = _sha512_of(context, number_of(key), content)
        if name is not None and name.raw in wanted:
            found = contents.NumberedContent(number_of(key), content)
            context.engine.write(partial(contents.name, found=found, digest=name))


def _sha512_of(context: StoreContext, number: int, content: Content) -> Digest | None:
    hasher = hashlib.sha512()
    try:
        for part in bytes_of(context, number, content):
            hasher.update(part)
    except DtrfastError as error:
        if not damage.is_damage(error) and not isinstance(error, FormatUnknown):
            raise
        return None
    return Digest("sha512", hasher.digest())


# ---- rows --------------------------------------------------------------------------------------
def _put_pack(transaction: WriteTransaction, number: int, pack: Pack) -> None:
    transaction.put(PACKS, number_key(number), encode(pack))
    transaction.put(FILES, pack.file_id, records.pack_owner(number))
    statistics.add(transaction, packs=1, pack_bytes=pack.size)


def _put_chunks(transaction: WriteTransaction, pack: int, entries: list[PackEntry]) -> None:
    """Index chunks.

    If an interrupted relocation left a chunk in two packs, the first one counts.
    """
    new = [e for e in entries if transaction.get(CHUNKS, number_key(e.id)) is None]
    for entry in new:
        chunk = Chunk(entry.codec, 0, pack, entry.offset, entry.stored, entry.length, entry.hash)
        transaction.put(CHUNKS, number_key(entry.id), chunk.encode())
        transaction.put(CHUNK_HASHES, records.chunk_hash_key(entry.hash, entry.id), b"")
    statistics.add(transaction, chunks=len(new), chunk_bytes=sum(e.length for e in new))


def _put_loose(transaction: WriteTransaction, number: int, content: Content) -> None:
    assert content.file_id is not None
    if transaction.get(BLOBS, Digest("sha256", content.sha256).key()) is not None:
        unowned.add(transaction, content.file_id, LOOSE_FILE)
        return
    row = records.file_row(content.file_id)
    transaction.put(RECIPES, records.recipe_key(number, 0), row)
    transaction.put(FILES, content.file_id, records.loose_owner(number))
    contents.put(transaction, number, content)


def _put_inline(transaction: WriteTransaction, number: int, body: bytes, now: int) -> None:
    digest = Digest.of_bytes(body)
    if transaction.get(BLOBS, digest.key()) is not None:
        return
    transaction.put(RECIPES, records.recipe_key(number, 0), records.inline_row(body))
    content = Content(
        version=1,
        kind="inline",
        size=len(body),
        stored=len(body),
        sha256=digest.raw,
        sha512=None,
        file_id=None,
        pushed_at=now,
    )
    contents.put(transaction, number, content)


def _list_sparse(transaction: WriteTransaction, keys: list[bytes]) -> None:
    for key in keys:
        data = transaction.get(PACKS, key)
        if data is not None and recipes.is_sparse(decode_pack(data)):
            transaction.put(PACKS_SPARSE, key, b"")

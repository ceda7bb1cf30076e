"""Making the local tables again from the files alone: what packs and loose files say of themselves.

Packs name their chunks and hold the recipes of chunked blobs; a loose file's digest is computed.
What nobody turns out to hold is left to the reclaim. The index must be new, and nobody else uses
the store.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from dtrfast import _core
from dtrfast.errors import Corrupt, DtrfastError
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
from dtrfast.store import contents, packs, recipes, reclaim, records, statistics, unowned
from dtrfast.store.blobs import IsHeld
from dtrfast.store.checking import bytes_of, is_damage
from dtrfast.store.context import Context
from dtrfast.store.packs import Entry, RecipePiece
from dtrfast.store.records import (
    LOOSE_FILE,
    PACK_FILE,
    Chunk,
    Content,
    Pack,
    decode_content,
    decode_pack,
    encode,
)

T = TypeVar("T")

_STEP_MAX = 400  # rows of a transaction
_READ_SIZE = 1 << 20

Tell = Callable[[str], None]
Progress = Callable[[int], None]  # bytes read


class Rebuild:
    """Makes the tables of one store. `tell` gets a sentence for each thing that is not whole."""

    def __init__(self, context: Context, tell: Tell, progress: Progress) -> None:
        self._context = context
        self._tell = tell
        self._progress = progress
        self._chunk_id = 0
        # SHA-256 of a chunked blob → contents that may be its recipe, each with its pack.
        self._candidates: defaultdict[bytes, list[_Candidate]] = defaultdict(list)

    def run(self) -> None:
        """All of it; then `contents.find` knows what there is."""
        self._drop_uploads()
        for path in self._files(self._context.layout.packs):
            self._add_pack(path)
        self._write(partial(_set_chunk_id, last=self._chunk_id))
        for sha256, candidates in self._candidates.items():
            self._choose(sha256, candidates)
        for path in self._files(self._context.layout.blobs):
            self._add_loose(path)

    def finish(self, is_held: IsHeld) -> None:
        """List contents that no repository holds, and sparse packs, for the reclaim."""
        reclaim.list_unheld(self._context.engine, is_held, self._context.clock())
        for some in _batches(self._keys(PACKS)):
            self._write(partial(_list_sparse, keys=some))

    def _write(self, change: Callable[[WriteTransaction], T]) -> T:
        return self._context.engine.write(change)

    def _keys(self, table: object) -> Iterator[bytes]:
        with self._context.engine.read() as transaction:
            keys = [key for key, _ in transaction.scan(table)]  # type: ignore[arg-type]
        return iter(keys)

    def _drop_uploads(self) -> None:
        for path in self._context.layout.uploads.iterdir():
            disk.remove(path)

    def _files(self, directory: Path) -> Iterator[Path]:
        for path in sorted(directory.glob("*/*")):
            try:
                uuid.UUID(hex=path.name)
            except ValueError:
                self._tell(f"{path.name} is no file of ours: it was left alone")
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
            raise Corrupt("it says that it is another one")
        number = self._context.numbers.take()
        end = packs.HEADER_SIZE
        pieces: dict[bytes, _Candidate] = {}
        for record, behind in packs.walk(descriptor, size):
            end = behind
            if isinstance(record, RecipePiece):
                self._add_piece(number, record, pieces)
            else:
                self._add_chunks(number, record)
        for sha256, candidate in pieces.items():
            self._candidates[sha256].append(candidate)
        if end < size:
            self._tell(f"the pack {path.name} ends at {end} of {size} bytes: the rest is torn")
        pack = Pack(version=1, file_id=file_id, size=end, live=0, created_at=self._context.clock())
        self._write(partial(_put_pack, number=number, pack=pack))

    def _add_chunks(self, pack: int, entries: list[Entry]) -> None:
        for some in _batches(entries):
            self._write(partial(_put_chunks, pack=pack, entries=some))
        self._chunk_id = max(self._chunk_id, *(entry.id for entry in entries), 0)

    def _add_piece(self, pack: int, piece: RecipePiece, pieces: dict[bytes, _Candidate]) -> None:
        candidate = pieces.get(piece.sha256)
        if candidate is None:
            candidate = _Candidate(self._context.numbers.take(), pack, piece.size)
            pieces[piece.sha256] = candidate
        candidate.parts += len(piece.parts)
        offset = piece.offset
        rows: list[tuple[int, list[tuple[int, int]]]] = []
        for first in range(0, len(piece.parts), records.CHUNKS_IN_ROW_MAX):
            row = piece.parts[first : first + records.CHUNKS_IN_ROW_MAX]
            rows.append((offset, row))
            offset += sum(length for _, length in row)
        self._write(partial(_put_rows, content=candidate.content, rows=rows))

    def _choose(self, sha256: bytes, candidates: list[_Candidate]) -> None:
        """The first recipe that is whole becomes the blob's."""
        chosen = None
        for candidate in candidates:
            if chosen is None and self._is_whole(candidate):
                chosen = candidate
                self._refer(candidate)
                self._write(
                    partial(
                        _put_chunked, sha256=sha256, chosen=candidate, now=self._context.clock()
                    )
                )
            else:
                self._drop_rows(candidate)
        if chosen is None:
            self._tell(f"chunks of sha256:{sha256.hex()} are gone")

    def _is_whole(self, candidate: _Candidate) -> bool:
        end = 0
        with self._context.engine.read() as transaction:
            for key, row in transaction.scan(RECIPES, number_key(candidate.content)):
                if number_of(key[8:]) != end:
                    return False
                for identifier, length in records.row_parts(row):
                    data = transaction.get(CHUNKS, number_key(identifier))
                    if data is None or Chunk.decode(data).length != length:
                        return False
                    end += length
        return end == candidate.size

    def _refer(self, candidate: _Candidate) -> None:
        with self._context.engine.read() as transaction:
            rows = [row for _, row in transaction.scan(RECIPES, number_key(candidate.content))]
        for some in _batches(rows, 4):
            self._write(partial(_refer_rows, rows=some))

    def _drop_rows(self, candidate: _Candidate) -> None:
        with self._context.engine.read() as transaction:
            keys = [key for key, _ in transaction.scan(RECIPES, number_key(candidate.content))]
        for some in _batches(keys):
            self._write(partial(_delete_rows, keys=some))

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


class _Candidate:
    """A recipe that a pack holds, in the rows of a content of its own."""

    def __init__(self, content: int, pack: int, size: int) -> None:
        self.content = content
        self.pack = pack
        self.size = size
        self.parts = 0


def add_inline(context: Context, body: bytes, now: int) -> None:
    """A content that lay in the index alone, and in the change log."""
    number = context.numbers.take()
    context.engine.write(partial(_put_inline, number=number, body=body, now=now))


def add_sha512_names(context: Context, wanted: set[bytes]) -> None:
    """Find the contents with these SHA-512 digests, by reading everything. What cannot be read is
    marked as damaged later, by a check of its own.
    """
    with context.engine.read() as transaction:
        rows = list(transaction.scan(CONTENTS))
    for key, data in rows:
        content = decode_content(data)
        name = _sha512_of(context, number_of(key), content)
        if name is not None and name.raw in wanted:
            found = contents.Found(number_of(key), content)
            context.engine.write(partial(contents.name, found=found, digest=name))


def _sha512_of(context: Context, number: int, content: Content) -> Digest | None:
    hasher = hashlib.sha512()
    try:
        for part in bytes_of(context, number, content):
            hasher.update(part)
    except DtrfastError as error:
        if not is_damage(error):
            raise
        return None
    return Digest("sha512", hasher.digest())


def _batches(items: Iterable[T], size: int = _STEP_MAX) -> Iterator[list[T]]:
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some


# ---- rows --------------------------------------------------------------------------------------
def _set_chunk_id(transaction: WriteTransaction, last: int) -> None:
    transaction.put(STORE, b"chunk_id", number_key(last + 1))


def _put_pack(transaction: WriteTransaction, number: int, pack: Pack) -> None:
    transaction.put(PACKS, number_key(number), encode(pack))
    transaction.put(FILES, pack.file_id, PACK_FILE + number_key(number))
    statistics.add(transaction, packs=1, pack_bytes=pack.size)


def _put_chunks(transaction: WriteTransaction, pack: int, entries: list[Entry]) -> None:
    """A chunk that a step of compaction left in two packs is taken from the first."""
    new = [e for e in entries if transaction.get(CHUNKS, number_key(e.id)) is None]
    for entry in new:
        chunk = Chunk(entry.codec, 0, pack, entry.offset, entry.stored, entry.length, entry.hash)
        transaction.put(CHUNKS, number_key(entry.id), chunk.encode())
        transaction.put(CHUNK_HASHES, entry.hash + number_key(entry.id), b"")
    statistics.add(transaction, chunks=len(new), chunk_bytes=sum(e.length for e in new))


def _put_rows(
    transaction: WriteTransaction, content: int, rows: list[tuple[int, list[tuple[int, int]]]]
) -> None:
    for offset, parts in rows:
        key = number_key(content) + number_key(offset)
        transaction.put(RECIPES, key, records.chunks_row(parts))


def _delete_rows(transaction: WriteTransaction, keys: list[bytes]) -> None:
    for key in keys:
        transaction.delete(RECIPES, key)


def _refer_rows(transaction: WriteTransaction, rows: list[bytes]) -> None:
    live = recipes.LiveBytes(transaction)
    for row in rows:
        for identifier, _ in records.row_parts(row):
            key = number_key(identifier)
            data = transaction.get(CHUNKS, key)
            assert data is not None, "it was seen to be there"
            chunk = Chunk.decode(data)
            transaction.put(CHUNKS, key, chunk.referenced(1).encode())
            if chunk.references == 0:
                live.add(chunk.pack, chunk.stored)
    live.write()


def _put_chunked(
    transaction: WriteTransaction, sha256: bytes, chosen: _Candidate, now: int
) -> None:
    size = packs.recipe_size(chosen.parts)
    content = Content(
        version=1,
        kind="chunked",
        size=chosen.size,
        stored=0,
        sha256=sha256,
        sha512=None,
        file_id=None,
        pushed_at=now,
        recipe_pack=chosen.pack,
        recipe_size=size,
    )
    recipes.add_live(transaction, chosen.pack, size)
    _put_content(transaction, chosen.content, content)


def _put_loose(transaction: WriteTransaction, number: int, content: Content) -> None:
    assert content.file_id is not None
    if transaction.get(BLOBS, Digest("sha256", content.sha256).key()) is not None:
        unowned.add(transaction, content.file_id, LOOSE_FILE)
        return
    row = records.file_row(content.file_id)
    transaction.put(RECIPES, number_key(number) + number_key(0), row)
    transaction.put(FILES, content.file_id, LOOSE_FILE + number_key(number))
    _put_content(transaction, number, content)


def _put_inline(transaction: WriteTransaction, number: int, body: bytes, now: int) -> None:
    digest = Digest.of_bytes(body)
    if transaction.get(BLOBS, digest.key()) is not None:
        return
    transaction.put(RECIPES, number_key(number) + number_key(0), records.inline_row(body))
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
    _put_content(transaction, number, content)


def _put_content(transaction: WriteTransaction, number: int, content: Content) -> None:
    transaction.put(CONTENTS, number_key(number), encode(content))
    transaction.put(BLOBS, Digest("sha256", content.sha256).key(), number_key(number))
    count = {f"{content.kind}_blobs": 1, f"{content.kind}_bytes": content.size}
    statistics.add(transaction, **count)


def _list_sparse(transaction: WriteTransaction, keys: list[bytes]) -> None:
    for key in keys:
        data = transaction.get(PACKS, key)
        if data is not None and recipes.is_sparse(decode_pack(data)):
            transaction.put(PACKS_SPARSE, key, b"")

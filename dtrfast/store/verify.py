"""Whether the index is whole: that all its rows fit each other, and the files on disk.

One snapshot of the index is read from one end to the other, with a pin, so that the files it names
stay; pushes and reclaim go on. What the files hold is not read: `checking` does that.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import (
    BLOBS,
    CHUNK_HASHES,
    CHUNKS,
    COMMITS,
    CONTENTS,
    CONTENTS_UNLINKED,
    FILES,
    FILES_UNOWNED,
    PACKS,
    RECIPES,
    STORE,
    number_of,
)
from dtrfast.machine import disk
from dtrfast.oci.digests import Digest
from dtrfast.store import contents, leftovers, pins, records, statistics
from dtrfast.store.blobs import IsHeld
from dtrfast.store.context import Context
from dtrfast.store.records import (
    LOOSE_FILE,
    Chunk,
    Content,
    decode_commit,
    decode_content,
    decode_pack,
)
from dtrfast.store.statistics import StoreStatistics

_PAGE = 1000
# Those of files that are gone, and those that versions before 1.4 counted here.
_UNCHECKED = frozenset({"freed_bytes", "old_links", "old_linked_bytes"})

# Gets the subject of the check, the rows done, and the rows to do.
Progress = Callable[[str, int, int], None]
# Gets a sentence for each fault.
Tell = Callable[[str], object]


def verify(context: Context, is_held: IsHeld, progress: Progress, tell: Tell) -> None:
    """Check the store; `tell` gets a sentence for each fault. `is_held` is also true for contents
    that wait to be released.
    """
    with pins.hold(context.layout.data):
        found = sorted(_data_files(context))
        with context.engine.read() as transaction:
            check = _Check(context, transaction, progress)
            for finding in check.run(found):
                tell(finding)
        for file_id in check.ownerless:
            # Looked at again: since the directories were read an upload may have ended, and its
            # blob may have been freed. The pin keeps the file, and the index its row.
            if _is_ownerless(context, file_id):
                tell(f"the file {file_id.hex()} belongs to nothing")
    _verify_holders(context, is_held, tell)


def _is_ownerless(context: Context, file_id: bytes) -> bool:
    layout = context.layout
    with context.engine.read() as now:
        if leftovers.is_owned(now, file_id):
            return False
    return layout.blob(file_id).exists() or layout.pack(file_id).exists()


def _verify_holders(context: Context, is_held: IsHeld, tell: Tell) -> None:
    """All content is held, or waits to be reclaimed."""
    after: bytes | None = None
    while page := _page(context, after):
        after = page[-1][0]
        for number, names in _unheld(page, is_held):
            # Looked at again: it may have come or gone between the two answers.
            if (
                _names_of(context, number)
                and not is_held([names])[0]
                and _names_of(context, number)
            ):
                tell(f"no repository holds {names[0]}, and it is not listed for reclaim")


def _unheld(page: _Page, is_held: IsHeld) -> _Page:
    held = is_held([names for _, names in page])
    return [one for one, is_one in zip(page, held, strict=True) if one[1] and not is_one]


# Numbers of contents, and their names.
_Page = list[tuple[bytes, list[Digest]]]


def _page(context: Context, after: bytes | None) -> _Page:
    """The next contents; those that wait to be reclaimed are without names."""
    with context.engine.read() as transaction:
        keys = [key for key, _ in transaction.scan(CONTENTS, after=after, limit=_PAGE)]
        return [(key, _names_in(transaction, key)) for key in keys]


def _names_of(context: Context, number: bytes) -> list[Digest]:
    with context.engine.read() as transaction:
        return _names_in(transaction, number)


def _names_in(transaction: ReadTransaction, number: bytes) -> list[Digest]:
    data = transaction.get(CONTENTS, number)
    if data is None or transaction.get(CONTENTS_UNLINKED, number) is not None:
        return []
    return contents.digests(decode_content(data))


def _data_files(context: Context) -> Iterator[str]:
    layout = context.layout
    for directory in chain(layout.blobs.iterdir(), layout.packs.iterdir()):
        yield from (path.name for path in Path(directory).iterdir())


class _Check:
    """A check of one snapshot."""

    def __init__(self, context: Context, transaction: ReadTransaction, progress: Progress) -> None:
        self._context = context
        self._transaction = transaction
        self._progress = progress
        self._counts: Counter[str] = Counter()
        self._live: Counter[int] = Counter()
        self.ownerless: list[bytes] = []  # files that nothing in this snapshot owns
        last = transaction.get(STORE, b"chunk_id")
        # Four bytes a chunk, so that a store of any size can be checked.
        self._references = array("I", bytes(4 * (number_of(last) if last else 1)))

    def run(self, found: list[str]) -> Iterator[str]:
        commits = [decode_commit(value) for _, value in self._transaction.scan(COMMITS)]
        self._unfinished = {commit.content for commit in commits}
        yield from self._recipes()
        yield from self._chunks()
        yield from self._contents()
        yield from self._packs()
        yield from self._files(found)
        yield from self._names()
        yield from self._statistics()

    def _scan(self, table: object, what: str) -> Iterator[tuple[bytes, bytes]]:
        count = 0
        for row in self._transaction.scan(table):  # type: ignore[arg-type]
            yield row
            count += 1
            if count % 10_000 == 0:
                self._progress(what, count, 0)
        self._progress(what, count, count)

    def _recipes(self) -> Iterator[str]:
        """Rows follow one another without a hole, and name chunks that are there."""
        content, end = -1, 0
        for key, row in self._scan(RECIPES, "recipes"):
            number, offset = number_of(key), number_of(key[8:])
            if number != content:
                content, end = number, 0
                if self._transaction.get(CONTENTS, key[:8]) is None and (
                    number not in self._unfinished
                ):
                    yield f"there is a recipe of content {number}, which is not there"
            if offset != end and not self._is_leaving(key[:8]):
                yield f"the recipe of content {number} has a hole at {end}"
            end = offset + self._row_length(row)

    def _is_leaving(self, content: bytes) -> bool:
        """Whether the content is on its way out: its recipe goes row by row."""
        return self._transaction.get(CONTENTS_UNLINKED, content) is not None

    def _row_length(self, row: bytes) -> int:
        if row[0] != records.CHUNKS:
            return 0
        for identifier, _ in records.row_parts(row):
            if identifier < len(self._references):
                self._references[identifier] += 1
        return sum(length for _, length in records.row_parts(row))

    def _chunks(self) -> Iterator[str]:
        for key, value in self._scan(CHUNKS, "chunks"):
            chunk, number = Chunk.decode(value), number_of(key)
            self._counts["chunks"] += 1
            self._counts["chunk_bytes"] += chunk.length
            self._counts["damaged_chunks"] += chunk.is_damaged and chunk.references > 0
            named = self._references[number] if number < len(self._references) else 0
            if named != chunk.references:
                yield f"chunk {number} has {named} references, and counts {chunk.references}"
            if number < len(self._references):
                self._references[number] = 0
            if chunk.references:
                self._live[chunk.pack] += chunk.stored
            if self._transaction.get(CHUNK_HASHES, chunk.hash + key) is None:
                yield f"chunk {number} cannot be found by its hash"
        missing = [number for number, count in enumerate(self._references) if count]
        for number in missing[:100]:
            yield f"chunk {number} is named by a recipe, and is not there"

    def _contents(self) -> Iterator[str]:
        for key, value in self._scan(CONTENTS, "blobs"):
            content = decode_content(value)
            self._counts[f"{content.kind}_blobs"] += 1
            self._counts[f"{content.kind}_bytes"] += content.size
            self._counts["damaged_blobs"] += bool(content.damaged_at)
            self._live[content.recipe_pack] += content.recipe_size
            yield from self._content(key, content)

    def _content(self, key: bytes, content: Content) -> Iterator[str]:
        name = Digest("sha256", content.sha256)
        for one in contents.digests(content):
            if self._transaction.get(BLOBS, one.key()) is None and not self._is_leaving(key):
                yield f"{one} cannot be found, though its content is there"
        rows = list(self._transaction.scan(RECIPES, key, limit=1, reverse=True))
        if not rows:
            if not self._is_leaving(key):
                yield f"the recipe of {name} is gone"
            return
        ((row_key, row),) = rows
        kinds = {"inline": records.INLINE, "loose": records.FILE, "chunked": records.CHUNKS}
        if row[0] != kinds[content.kind]:
            yield f"{name} is {content.kind}, and its recipe is of another kind"
        elif content.kind == "chunked":
            parts = records.row_parts(row)
            if number_of(row_key[8:]) + sum(length for _, length in parts) != content.size:
                yield f"the recipe of {name} is not as long as the blob"
        elif content.kind == "inline" and Digest.of_bytes(row[2:]) != name:
            yield f"{name} has other bytes in the index"

    def _packs(self) -> Iterator[str]:
        for key, value in self._scan(PACKS, "packs"):
            pack, number = decode_pack(value), number_of(key)
            self._counts["packs"] += 1
            self._counts["pack_bytes"] += pack.size
            if pack.live != self._live.pop(number, 0):
                yield f"pack {number} does not count its live bytes rightly"
            if disk.size_of(self._context.layout.pack(pack.file_id)) < pack.size:
                yield f"the file of pack {number} ({pack.file_id.hex()}) is gone or cut off"
        self._live.pop(0, None)
        for number in list(self._live)[:100]:
            yield f"chunks lie in pack {number}, which is not there"

    def _files(self, found: list[str]) -> Iterator[str]:
        """Every file has an owner, and every owner its file."""
        for name in found:
            try:
                file_id = bytes.fromhex(name)
            except ValueError:
                yield f"{name} is no file of ours"
                continue
            known = any(self._transaction.get(t, file_id) for t in (FILES, FILES_UNOWNED))
            is_upload = self._context.layout.upload(file_id, "state").exists()
            if not known and not is_upload:
                self.ownerless.append(file_id)
        for file_id, value in self._scan(FILES, "files"):
            if value[:1] == LOOSE_FILE:
                yield from self._loose_file(file_id, value[1:])

    def _loose_file(self, file_id: bytes, key: bytes) -> Iterator[str]:
        data = self._transaction.get(CONTENTS, key)
        if data is None:
            yield f"the file {file_id.hex()} is of a content that is not there"
            return
        content = decode_content(data)
        size = disk.size_of(self._context.layout.blob(file_id))
        if size != content.size and not content.damaged_at:
            name = Digest("sha256", content.sha256)
            yield f"the file of {name} has {size} bytes instead of {content.size}"

    def _names(self) -> Iterator[str]:
        for key, number in self._scan(BLOBS, "digests"):
            data = self._transaction.get(CONTENTS, number)
            digest = Digest.from_key(key)
            if data is None:
                yield f"{digest} names a content that is not there"
            elif digest not in contents.digests(decode_content(data)):
                yield f"{digest} names another content"

    def _statistics(self) -> Iterator[str]:
        said = statistics.read(self._transaction)
        for name in StoreStatistics.__dataclass_fields__:
            if name not in _UNCHECKED and getattr(said, name) != self._counts[name]:
                yield f"{name} are {self._counts[name]}, and {getattr(said, name)} are counted"

"""Verification of the index: its rows must be consistent with each other and with the files on
disk.

It reads one snapshot of the index completely. A pin keeps the files that the snapshot names. Pushes
and reclaim go on meanwhile. The files are not read: that is done by `checking`.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import TypeVar

from dtrfast.errors import Corrupt, FormatUnknown
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
    REPLAY_CONTENTS,
    REPLAYS,
    REPLAYS_UNFINISHED,
    STORE,
    number_key,
    number_of,
)
from dtrfast.machine import disk
from dtrfast.oci.digests import Digest
from dtrfast.store import contents, leftovers, pins, recipe_rows, records, statistics
from dtrfast.store.blobs import IsHeld
from dtrfast.store.context import StoreContext
from dtrfast.store.records import (
    LOOSE_FILE,
    Chunk,
    Content,
    FileOwner,
    decode_commit,
    decode_content,
    decode_pack,
)
from dtrfast.store.statistics import StoreStatistics
from dtrfast.store.tier import replays, row_check
from dtrfast.store.tier.encoding import ENCODERS
from dtrfast.store.tier.replays import Replay

_PAGE = 1000
# Counts of files that are gone, and those of versions before 1.4.
_UNCHECKED = frozenset({"freed_bytes", "old_links", "old_linked_bytes"})

T = TypeVar("T")

# A row that this version cannot read: it is damaged, or a newer version wrote it.
_UNREADABLE = (Corrupt, FormatUnknown)

# Gets the subject of the check, the rows done, and the rows in total, 0 if unknown.
Progress = Callable[[str, int, int], None]
# Gets a sentence for each fault.
Tell = Callable[[str], object]


def verify(context: StoreContext, is_held: IsHeld, progress: Progress, tell: Tell) -> None:
    """Check the store. `tell` gets a sentence for each fault.

    `is_held` must also return True for contents that wait to be released.
    """
    with pins.hold(context.layout.data):
        layout = context.layout
        directories = chain(layout.blobs.iterdir(), layout.packs.iterdir())
        found = sorted(path.name for one in directories for path in Path(one).iterdir())
        with context.engine.read() as transaction:
            check = _Check(context, transaction, progress)
            for finding in check.run(found):
                tell(finding)
        for file_id in check.ownerless:
            # Checked again: since the directories were read, an upload may have ended and its blob
            # may have been freed. The pin keeps the file, and the index keeps its row.
            with context.engine.read() as now:
                is_owned = leftovers.is_owned(now, file_id)
            if not is_owned and (layout.blob(file_id).exists() or layout.pack(file_id).exists()):
                tell(f"the file {file_id.hex()} belongs to nothing")
    _verify_holders(context, is_held, tell)


def _verify_holders(context: StoreContext, is_held: IsHeld, tell: Tell) -> None:
    """Check that each content is held or waits to be reclaimed."""
    after: bytes | None = None
    while True:
        with context.engine.read() as transaction:
            keys = [key for key, _ in transaction.scan(CONTENTS, after=after, limit=_PAGE)]
            page = [(key, _names_in(transaction, key)) for key in keys]
        if not page:
            return
        after = keys[-1]
        held = is_held([names for _, names in page])
        for (number, names), is_one in zip(page, held, strict=True):
            # Checked again: it may have been added or removed between the two answers.
            if (
                names
                and not is_one
                and _names_of(context, number)
                and not is_held([names])[0]
                and _names_of(context, number)
            ):
                tell(f"no repository holds {names[0]}, and it is not listed for reclaim")


def _names_of(context: StoreContext, number: bytes) -> list[Digest]:
    with context.engine.read() as transaction:
        return _names_in(transaction, number)


def _names_in(transaction: ReadTransaction, number: bytes) -> list[Digest]:
    """Return the names of a content; none if it waits to be reclaimed, or cannot be read."""
    content = _content_in(transaction, number)
    if content is None or transaction.get(CONTENTS_UNLINKED, number) is not None:
        return []
    return contents.digests(content)


def _content_in(transaction: ReadTransaction, number: bytes) -> Content | None:
    """Return a content; None if it is not there or cannot be read."""
    data = transaction.get(CONTENTS, number)
    try:
        return None if data is None else decode_content(data)
    except _UNREADABLE:
        return None


class _Check:
    """The check of one snapshot of the index."""

    def __init__(
        self, context: StoreContext, transaction: ReadTransaction, progress: Progress
    ) -> None:
        self._context = context
        self._transaction = transaction
        self._progress = progress
        self._counts: Counter[str] = Counter()
        self._live: Counter[int] = Counter()
        self._unfinished: set[int] = set()  # contents whose commits are not complete
        self._unreadable: list[str] = []  # findings about rows, since the last step
        self.ownerless: list[bytes] = []  # files that nothing in this snapshot owns
        last = transaction.get(STORE, b"chunk_id")
        # Four bytes a chunk, so that a store of any size can be checked.
        self._references = array("I", bytes(4 * (number_of(last) if last else 1)))

    def run(self, found: list[str]) -> Iterator[str]:
        self._read_commits()
        steps = (
            self._recipes(),
            self._chunks(),
            self._contents(),
            self._packs(),
            self._files(found),
            self._names(),
            row_check.check_owners(self._scan, self._transaction.get),
            self._statistics(),
        )
        for step in steps:
            for finding in step:
                yield from self._take_unreadable()
                yield finding
            yield from self._take_unreadable()

    def _decoded(self, decode: Callable[[bytes], T], data: bytes, subject: str) -> T | None:
        """Return a decoded row; None and a finding if it cannot be read."""
        try:
            return decode(data)
        except _UNREADABLE as error:
            self._unreadable.append(f"{subject} cannot be read: {error}")
            return None

    def _take_unreadable(self) -> list[str]:
        found, self._unreadable = self._unreadable, []
        return found

    def _read_commits(self) -> None:
        for key, value in self._transaction.scan(COMMITS):
            commit = self._decoded(decode_commit, value, f"the commit of upload {key.hex()}")
            if commit is not None:
                self._unfinished.add(commit.content)

    def _scan(self, table: object, what: str) -> Iterator[tuple[bytes, bytes]]:
        count = 0
        for row in self._transaction.scan(table):  # type: ignore[arg-type]
            yield row
            count += 1
            if count % 10_000 == 0:
                self._progress(what, count, 0)
        self._progress(what, count, count)

    def _recipes(self) -> Iterator[str]:
        """Rows must be contiguous, and belong to a content or an unfinished commit."""
        content = -1
        end: int | None = 0  # None: not known, behind a row that cannot be read
        for key, row in self._scan(RECIPES, "recipes"):
            number, offset = number_of(key), records.recipe_offset(key)
            if number != content:
                content, end = number, 0
                if not self._has_owner(number):
                    yield f"there is a recipe of content {number}, which is not there"
            if end not in (offset, None) and not self._is_leaving(number):
                yield f"the recipe of content {number} has a hole at {end}"
            subject = f"the recipe row of content {number} at {offset}"
            length = self._decoded(self._row_length, row, subject)
            end = None if length is None else offset + length

    def _has_owner(self, recipe: int) -> bool:
        """Return True if a content, a replay recipe or unfinished work has the recipe."""
        key = number_key(recipe)
        tables = (CONTENTS, REPLAY_CONTENTS, REPLAYS_UNFINISHED)
        is_owned = any(self._transaction.get(table, key) is not None for table in tables)
        return is_owned or recipe in self._unfinished

    def _is_leaving(self, recipe: int) -> bool:
        """Return True if the rows of the recipe are being deleted, one after the other."""
        key = number_key(recipe)
        tables = (CONTENTS_UNLINKED, REPLAYS_UNFINISHED)
        return any(self._transaction.get(table, key) is not None for table in tables)

    def _row_length(self, row: bytes) -> int:
        for identifier in recipe_rows.chunk_ids(row):
            if identifier < len(self._references):
                self._references[identifier] += 1
        return recipe_rows.row_length(row)

    def _chunks(self) -> Iterator[str]:
        for key, value in self._scan(CHUNKS, "chunks"):
            number = number_of(key)
            named = self._references[number] if number < len(self._references) else 0
            if named:
                self._references[number] = 0
            chunk = self._decoded(Chunk.decode, value, f"chunk {number}")
            if chunk is None:
                continue
            self._counts["chunks"] += 1
            self._counts["chunk_bytes"] += chunk.length
            self._counts["damaged_chunks"] += chunk.is_damaged and chunk.references > 0
            if named != chunk.references:
                yield f"chunk {number} has {named} references, and counts {chunk.references}"
            if chunk.references:
                self._live[chunk.pack] += chunk.stored
            if (
                self._transaction.get(CHUNK_HASHES, records.chunk_hash_key(chunk.hash, number))
                is None
            ):
                yield f"chunk {number} cannot be found by its hash"
        missing = [number for number, count in enumerate(self._references) if count]
        for number in missing[:100]:
            yield f"chunk {number} is named by a recipe, and is not there"

    def _contents(self) -> Iterator[str]:
        for key, value in self._scan(CONTENTS, "blobs"):
            content = self._decoded(decode_content, value, f"content {number_of(key)}")
            if content is None:
                continue
            self._counts[f"{content.kind}_blobs"] += 1
            self._counts[f"{content.kind}_bytes"] += content.size
            self._counts["damaged_blobs"] += bool(content.damaged_at)
            self._live[content.recipe_pack] += content.recipe_size
            yield from self._content(key, content)
            yield from self._replay(key, content)

    def _content(self, key: bytes, content: Content) -> Iterator[str]:
        name = Digest("sha256", content.sha256)
        is_leaving = self._is_leaving(number_of(key))
        for one in contents.digests(content):
            if self._transaction.get(BLOBS, one.key()) is None and not is_leaving:
                yield f"{one} cannot be found, though its content is there"
        rows = list(self._transaction.scan(RECIPES, key, limit=1, reverse=True))
        if rows and not is_leaving:
            try:
                yield from self._last_row(name, content, *rows[0])
            except _UNREADABLE as error:
                yield f"the recipe of {name} cannot be read: {error}"
        elif not rows and not is_leaving and content.kind != "recreated":
            yield f"the recipe of {name} is gone"

    @staticmethod
    def _last_row(name: Digest, content: Content, key: bytes, row: bytes) -> Iterator[str]:
        kinds = {"inline": records.INLINE, "loose": records.FILE, "chunked": records.CHUNKS}
        if row[0] != kinds.get(content.kind):
            yield f"{name} is {content.kind}, and its recipe is of another kind"
        elif content.kind == "chunked":
            if records.recipe_offset(key) + recipe_rows.row_length(row) != content.size:
                yield f"the recipe of {name} is not as long as the blob"
        elif content.kind == "inline" and Digest.of_bytes(records.row_payload(row)) != name:
            yield f"{name} has other bytes in the index"

    def _replay(self, key: bytes, content: Content) -> Iterator[str]:
        """A replay recipe must be whole, and an evicted content must have one."""
        name = Digest("sha256", content.sha256)
        data = self._transaction.get(REPLAYS, key)
        if data is None:
            if content.kind == "recreated" and not self._is_leaving(number_of(key)):
                yield f"the replay recipe of {name} is gone"
            return
        self._counts["converted_blobs"] += 1
        replay = self._decoded(replays.decode, data, f"the replay recipe of {name}")
        if replay is not None:
            yield from self._readable_replay(key, name, content, replay)

    def _readable_replay(
        self, key: bytes, name: Digest, content: Content, replay: Replay
    ) -> Iterator[str]:
        self._counts["plain_bytes"] += replay.plain_size
        self._live[replay.pack] += replay.pack_size
        if replay.encoder not in ENCODERS:
            yield f"{name} needs encoder {replay.encoder}: run a newer dtrfast"
        if replays.content_of(self._transaction, number_key(replay.recipe)) != number_of(key):
            yield f"the plain recipe of {name} belongs to another blob"
        try:
            if self._plain_size(replay.recipe) != replay.plain_size:
                yield f"the plain recipe of {name} is not as long as its plain bytes"
        except _UNREADABLE as error:
            yield f"the plain recipe of {name} cannot be read: {error}"
        if not replay.has_its_frame:
            yield f"the gzip header or trailer of {name} has changed"
        yield from row_check.check_segments(self._transaction, name, content, replay)

    def _plain_size(self, recipe: int) -> int:
        prefix = number_key(recipe)
        rows = self._transaction.scan(RECIPES, prefix, limit=1, reverse=True)
        return sum(records.recipe_offset(k) + recipe_rows.row_length(row) for k, row in rows)

    def _packs(self) -> Iterator[str]:
        for key, value in self._scan(PACKS, "packs"):
            number = number_of(key)
            live = self._live.pop(number, 0)
            pack = self._decoded(decode_pack, value, f"pack {number}")
            if pack is None:
                continue
            self._counts["packs"] += 1
            self._counts["pack_bytes"] += pack.size
            if pack.live != live:
                yield f"pack {number} counts its live bytes wrong"
            if disk.size_of(self._context.layout.pack(pack.file_id)) < pack.size:
                yield f"the file of pack {number} ({pack.file_id.hex()}) is missing or too short"
        self._live.pop(0, None)
        for number in list(self._live)[:100]:
            yield f"chunks lie in pack {number}, which is not there"

    def _files(self, found: list[str]) -> Iterator[str]:
        """Every file must have an owner, and every owner its file."""
        for name in found:
            try:
                file_id = bytes.fromhex(name)
            except ValueError:
                yield f"{name} is not a file of dtrfast"
                continue
            known = any(self._transaction.get(t, file_id) for t in (FILES, FILES_UNOWNED))
            is_upload = self._context.layout.upload(file_id, "state").exists()
            if not known and not is_upload:
                self.ownerless.append(file_id)
        for file_id, value in self._scan(FILES, "files"):
            owner = FileOwner.decode(value)
            if owner.kind == LOOSE_FILE:
                yield from self._loose_file(file_id, owner.key)

    def _loose_file(self, file_id: bytes, key: bytes) -> Iterator[str]:
        content = _content_in(self._transaction, key)
        if content is None:
            if self._transaction.get(CONTENTS, key) is None:
                yield f"the file {file_id.hex()} is of a content that is not there"
            return
        size = disk.size_of(self._context.layout.blob(file_id))
        if size != content.size and not content.damaged_at:
            name = Digest("sha256", content.sha256)
            yield f"the file of {name} has {size} bytes instead of {content.size}"

    def _names(self) -> Iterator[str]:
        for key, number in self._scan(BLOBS, "digests"):
            digest = Digest.from_key(key)
            content = _content_in(self._transaction, number)
            if content is None:
                if self._transaction.get(CONTENTS, number) is None:
                    yield f"{digest} names a content that is not there"
            elif digest not in contents.digests(content):
                yield f"{digest} names another content"

    def _statistics(self) -> Iterator[str]:
        said = statistics.read(self._transaction)
        for name in StoreStatistics.__dataclass_fields__:
            if name not in _UNCHECKED and getattr(said, name) != self._counts[name]:
                yield f"{name} are {self._counts[name]}, and {getattr(said, name)} are counted"

"""The replay recipes that packs hold, while a rebuild looks for those that are whole.

The rows of each copy are indexed under a number of its own. Once all files are read, the first
whole copy becomes the blob's, and the rows of the others are deleted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import msgspec

from dtrfast.errors import Corrupt
from dtrfast.index.engine import Table, WriteTransaction
from dtrfast.index.tables import CHUNKS, RECIPES, REPLAY_SEGMENTS, number_key
from dtrfast.oci.digests import Digest
from dtrfast.store import contents, recipe_rows, recipes, records
from dtrfast.store.context import StoreContext
from dtrfast.store.packs import ReplayPiece
from dtrfast.store.parts import UploadPart
from dtrfast.store.recipe_candidates import STEP_MAX, batches
from dtrfast.store.recipe_rows import SliceRow
from dtrfast.store.records import Chunk, Content
from dtrfast.store.tier import recipe_copy, replays
from dtrfast.store.tier.replays import Replay

_ROWS_REFERRED = 3


@dataclass(slots=True)
class ReplayCandidate:
    """A copy that a pack holds, in rows with the number `recipe`.

    `size`: bytes of the blob. `pack_size`: bytes of the copy. `replay` is its last row.
    """

    recipe: int
    pack: int
    size: int
    pack_size: int = 0
    replay: Replay | None = None


class ReplayCandidates:
    """The candidates of all packs. `tell` gets a sentence for each blob without a whole recipe."""

    def __init__(self, context: StoreContext, tell: Callable[[str], None]) -> None:
        self._context = context
        self._tell = tell
        self._open: dict[tuple[int, bytes], ReplayCandidate] = {}
        self._by_sha256: defaultdict[bytes, list[ReplayCandidate]] = defaultdict(list)

    def index_piece(self, pack: int, piece: ReplayPiece, size: int) -> None:
        """Index a piece of `size` bytes that was read from a pack."""
        key = pack, piece.sha256
        candidate = self._open.get(key)
        if candidate is None:
            candidate = ReplayCandidate(self._context.numbers.take(), pack, piece.size)
            self._open[key] = candidate
            self._by_sha256[piece.sha256].append(candidate)
        candidate.pack_size += size
        self._context.engine.write(partial(_put_rows, recipe=candidate.recipe, piece=piece))
        for kind, _, value in piece.rows:
            if kind == recipe_copy.HEAD:
                candidate.replay = replays.decode(value)
                del self._open[key]  # another copy in this pack begins anew

    def choose_all(self) -> None:
        """Give each blob its first whole recipe; delete the others.

        A blob without a file becomes an evicted one. Call it when all other contents are indexed.
        """
        for sha256, candidates in self._by_sha256.items():
            chosen = next((one for one in candidates if self._is_whole(one)), None)
            for candidate in candidates:
                if candidate is chosen:
                    self._choose(sha256, candidate)
                else:
                    self._delete(candidate)
            if chosen is None and not self._is_known(sha256):
                self._tell(f"chunks of sha256:{sha256.hex()} are gone")

    def _is_known(self, sha256: bytes) -> bool:
        with self._context.engine.read() as transaction:
            return contents.find(transaction, Digest("sha256", sha256)) is not None

    def _is_whole(self, candidate: ReplayCandidate) -> bool:
        if candidate.replay is None:
            return False
        end = 0
        for offset, row in recipe_rows.read(self._context.engine, candidate.recipe):
            try:
                decoded = recipe_rows.decode(row)
            except Corrupt:
                return False
            if offset != end or not self._has_chunks(decoded):
                return False
            end += decoded.length
        with self._context.engine.read() as transaction:
            first = transaction.get(REPLAY_SEGMENTS, records.recipe_key(candidate.recipe, 0))
        return end == candidate.replay.plain_size and first is not None

    def _has_chunks(self, row: SliceRow) -> bool:
        keys = [number_key(use.id) for use in row.chunks]
        with self._context.engine.read() as transaction:
            found = transaction.get_many(CHUNKS, keys)
        lengths = {key: Chunk.decode(data).length for key, data in found.items()}
        return all(lengths.get(number_key(use.id)) == use.length for use in row.chunks)

    def _choose(self, sha256: bytes, candidate: ReplayCandidate) -> None:
        """Count the references of the recipe's chunks, then give it to the content."""
        engine = self._context.engine
        for rows in batches(recipes.rows(engine, candidate.recipe), _ROWS_REFERRED):
            engine.write(partial(_refer_rows, rows=rows))
        with engine.read() as transaction:
            found = contents.find(transaction, Digest("sha256", sha256))
        number = self._context.numbers.take() if found is None else found.number
        if found is None:
            content = Content(
                version=1,
                kind="recreated",
                size=candidate.size,
                stored=0,
                sha256=sha256,
                sha512=None,
                file_id=None,
                pushed_at=self._context.clock(),
            )
            engine.write(partial(contents.put, number=number, content=content))
        assert candidate.replay is not None, "it is whole"
        replay = msgspec.structs.replace(
            candidate.replay,
            recipe=candidate.recipe,
            pack=candidate.pack,
            pack_size=candidate.pack_size,
        )
        engine.write(partial(replays.put, content=number, replay=replay))

    def _delete(self, candidate: ReplayCandidate) -> None:
        """Delete rows whose chunks have no references yet."""
        engine = self._context.engine
        for table in (RECIPES, REPLAY_SEGMENTS):
            change = partial(_delete_rows, table=table, recipe=candidate.recipe)
            while engine.write(change) == STEP_MAX:
                pass


def _put_rows(transaction: WriteTransaction, recipe: int, piece: ReplayPiece) -> None:
    tables = {recipe_copy.SEGMENT: REPLAY_SEGMENTS, recipe_copy.SLICES: RECIPES}
    for kind, offset, value in piece.rows:
        if kind in tables:
            transaction.put(tables[kind], records.recipe_key(recipe, offset), value)


def _delete_rows(transaction: WriteTransaction, table: Table, recipe: int) -> int:
    """Delete up to `STEP_MAX` rows; return their number."""
    rows = transaction.scan(table, number_key(recipe), limit=STEP_MAX)
    keys = [key for key, _ in rows]
    transaction.delete_all(table, keys)
    return len(keys)


def _refer_rows(transaction: WriteTransaction, rows: list[bytes]) -> None:
    uses = [
        UploadPart(identifier, b"", 0, is_new=False)
        for row in rows
        for identifier in recipe_rows.chunk_ids(row)
    ]
    recipes.add_references(transaction, 0, uses)

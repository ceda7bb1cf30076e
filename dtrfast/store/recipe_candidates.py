"""The recipes that packs hold, while a rebuild looks for the one that is whole.

Several packs may hold a recipe of one blob, of which parts may be missing. Each is indexed as the
recipe of a content of its own. Once all packs are read, the first whole recipe becomes the blob's,
and the rows of the others are deleted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import CHUNKS, RECIPES, number_key
from dtrfast.store import contents, packs, recipes, records
from dtrfast.store.context import StoreContext
from dtrfast.store.packs import RecipePiece
from dtrfast.store.records import Chunk, Content

T = TypeVar("T")

STEP_MAX = 400  # rows of a transaction
_ROWS_REFERRED = 4  # 512 chunks


@dataclass(slots=True)
class RecipeCandidate:
    """A recipe that a pack holds, in the rows of the content with this number.

    `size`: bytes of the blob. `parts`: parts that were found.
    """

    content: int
    pack: int
    size: int
    parts: int = 0


class RecipeCandidates:
    """The candidates of all packs. `tell` gets a sentence for each blob without a whole recipe."""

    def __init__(self, context: StoreContext, tell: Callable[[str], None]) -> None:
        self._context = context
        self._tell = tell
        self._by_sha256: defaultdict[bytes, list[RecipeCandidate]] = defaultdict(list)

    def add_pack(self, candidates: dict[bytes, RecipeCandidate]) -> None:
        """Add the candidates of one pack, by the SHA-256 of their blobs."""
        for sha256, candidate in candidates.items():
            self._by_sha256[sha256].append(candidate)

    def index_piece(
        self, pack: int, piece: RecipePiece, found: dict[bytes, RecipeCandidate]
    ) -> None:
        """Index a piece that was read from a pack; put its candidate into `found`."""
        candidate = found.get(piece.sha256)
        if candidate is None:
            candidate = RecipeCandidate(self._context.numbers.take(), pack, piece.size)
            found[piece.sha256] = candidate
        candidate.parts += len(piece.parts)
        self._context.engine.write(partial(_put_rows, content=candidate.content, piece=piece))

    def choose_all(self) -> None:
        """Make the first whole recipe of each blob the blob's; delete the others."""
        for sha256, candidates in self._by_sha256.items():
            chosen = None
            for candidate in candidates:
                if chosen is None and self._is_whole(candidate):
                    chosen = candidate
                    self._choose(sha256, candidate)
                else:
                    prefix = number_key(candidate.content)
                    with self._context.engine.read() as transaction:
                        keys = [key for key, _ in transaction.scan(RECIPES, prefix)]
                    for some in batches(keys):
                        self._context.engine.write(partial(_delete_rows, keys=some))
            if chosen is None:
                self._tell(f"chunks of sha256:{sha256.hex()} are gone")

    def _is_whole(self, candidate: RecipeCandidate) -> bool:
        end = 0
        with self._context.engine.read() as transaction:
            for key, row in transaction.scan(RECIPES, number_key(candidate.content)):
                if records.recipe_offset(key) != end:
                    return False
                for identifier, length in records.row_parts(row):
                    data = transaction.get(CHUNKS, number_key(identifier))
                    if data is None or Chunk.decode(data).length != length:
                        return False
                    end += length
        return end == candidate.size

    def _choose(self, sha256: bytes, candidate: RecipeCandidate) -> None:
        """Count the references of the recipe's chunks, then name the content."""
        engine = self._context.engine
        for some in batches(recipes.rows(engine, candidate.content), _ROWS_REFERRED):
            engine.write(partial(_refer_rows, rows=some))
        now = self._context.clock()
        engine.write(partial(_put_content, sha256=sha256, chosen=candidate, now=now))


def batches(items: Iterable[T], size: int = STEP_MAX) -> Iterator[list[T]]:
    """The items, some for each transaction."""
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some


def _put_rows(transaction: WriteTransaction, content: int, piece: RecipePiece) -> None:
    offset = piece.offset
    for first in range(0, len(piece.parts), records.CHUNKS_IN_ROW_MAX):
        row = piece.parts[first : first + records.CHUNKS_IN_ROW_MAX]
        transaction.put(RECIPES, records.recipe_key(content, offset), records.chunks_row(row))
        offset += sum(length for _, length in row)


def _delete_rows(transaction: WriteTransaction, keys: list[bytes]) -> None:
    for key in keys:
        transaction.delete(RECIPES, key)


def _refer_rows(transaction: WriteTransaction, rows: list[bytes]) -> None:
    live = recipes.LiveBytes(transaction)
    for row in rows:
        for identifier, _ in records.row_parts(row):
            key = number_key(identifier)
            data = transaction.get(CHUNKS, key)
            assert data is not None, "the recipe is whole"
            chunk = Chunk.decode(data)
            transaction.put(CHUNKS, key, chunk.referenced(1).encode())
            if chunk.references == 0:
                live.add(chunk.pack, chunk.stored)
    live.write()


def _put_content(
    transaction: WriteTransaction, sha256: bytes, chosen: RecipeCandidate, now: int
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
    contents.put(transaction, chosen.content, content)

"""The upgrade of a store that an older version wrote, in steps, while it is used.

Its garbage is put into the lists of this version. Its chunked blobs get copies of their recipes,
which repair needs, and its inline blobs are recorded in the change log.
"""

from __future__ import annotations

from functools import partial

from dtrfast.index.changes import record
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import (
    CHUNKS,
    CHUNKS_UNREFERENCED,
    CONTENTS,
    PACKS,
    PACKS_SPARSE,
    RECIPES,
    STORE,
    number_key,
    number_of,
)
from dtrfast.oci.digests import Digest
from dtrfast.store import recipes, records
from dtrfast.store.context import StoreContext
from dtrfast.store.records import Chunk, Content, decode_content, decode_pack
from dtrfast.store.relocation import Relocation

# The number of the last content that was upgraded; `_END` after all of them.
_KEY = b"upgraded_contents"
_END = (1 << 64) - 1
_STEP_MAX = 200


class Upgrade:
    """Upgrades the rows of one store. One thread."""

    def __init__(self, context: StoreContext) -> None:
        self._context = context

    def step(self) -> int:
        """Upgrade some rows; return their number."""
        with self._context.engine.read() as transaction:
            keys = [key for key, _ in transaction.scan(CHUNKS_UNREFERENCED, limit=_STEP_MAX)]
        if keys:
            self._context.engine.write(partial(_list_sparse, keys=keys))
            return len(keys)
        return self._copy_recipes()

    def _copy_recipes(self) -> int:
        with self._context.engine.read() as transaction:
            at = transaction.get(STORE, _KEY) or number_key(0)
            if number_of(at) == _END:
                return 0
            rows = [
                (key, decode_content(value))
                for key, value in transaction.scan(CONTENTS, after=at, limit=_STEP_MAX)
            ]
        relocation = Relocation(self._context, frozenset())
        try:
            for key, content in rows:
                if content.kind == "chunked" and not content.recipe_pack:
                    relocation.copy_recipe(number_of(key), content)
            relocation.finish()
        finally:
            relocation.close()
        inline = [(key, content) for key, content in rows if content.kind == "inline"]
        last = rows[-1][0] if rows else number_key(_END)
        with self._context.engine.read() as transaction:
            bodies = [(one, self._inline_body(transaction, key)) for key, one in inline]
        # Here the shared change is committed first, as an exception. A step that is interrupted
        # between the two is done again. A body that is recorded twice is replayed twice, which
        # changes nothing. In the other order a repair would lack bodies.
        if bodies:
            now = self._context.clock()
            self._context.engine.write(partial(_record, bodies=bodies, now=now))
        self._context.engine.write(partial(_note, last=last))
        return len(rows)

    @staticmethod
    def _inline_body(transaction: ReadTransaction, key: bytes) -> bytes | None:
        row = transaction.get(RECIPES, records.recipe_key(number_of(key), 0))
        return None if row is None else bytes(records.row_payload(row))


def _note(transaction: WriteTransaction, last: bytes) -> None:
    transaction.put(STORE, _KEY, last)


def mark_done(transaction: WriteTransaction) -> None:
    """Record that a new store needs no upgrade."""
    transaction.put(STORE, _KEY, number_key(_END))


def _list_sparse(transaction: WriteTransaction, keys: list[bytes]) -> None:
    for key in keys:
        transaction.delete(CHUNKS_UNREFERENCED, key)
        data = transaction.get(CHUNKS, records.unreferenced_chunk(key))
        if data is None:
            continue
        pack = number_key(Chunk.decode(data).pack)
        row = transaction.get(PACKS, pack)
        if row is not None and recipes.is_sparse(decode_pack(row)):
            transaction.put(PACKS_SPARSE, pack, b"")


def _record(
    transaction: WriteTransaction, bodies: list[tuple[Content, bytes | None]], now: int
) -> None:
    for content, body in bodies:
        if body is not None:
            record(
                transaction,
                "blob.put",
                time=now,
                actor="",
                repository="",
                payload={"digest": str(Digest("sha256", content.sha256)), "body": body},
            )

"""The choice of sparse packs to compact, and of the time. `docs/reliability.md` has the rule and
its proof.

A step notes the sparse packs and the losses of each. After that it notes the uploads that may share
chunks of these packs. Once none of those uploads can still need chunks without references, the live
chunks of the packs move to a new pack, some in each step. It runs in one thread, and no request
waits for it.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from dtrfast.errors import Corrupt, FormatUnknown, StorageFull, UploadBusy, UploadUnknown
from dtrfast.index.tables import COMMITS, PACKS, PACKS_SPARSE, number_key, number_of
from dtrfast.machine import disk
from dtrfast.store import parts, recipes, unowned
from dtrfast.store.context import StoreContext
from dtrfast.store.records import Pack, decode_commit, decode_pack
from dtrfast.store.relocation import Relocation
from dtrfast.store.upload_state import StateFile, parse_upload_id

_logger = logging.getLogger("dtrfast.reclaim")

_NOTED_MAX = 1000
_PARTS_READ = 4096


@dataclass(frozen=True, slots=True)
class _SparsePacks:
    """Sparse packs by number with their losses, and ids of uploads that had parts afterwards."""

    losses: dict[int, int]
    uploads: frozenset[str]


class Compaction:
    """Compacts the sparse packs of one store."""

    def __init__(self, context: StoreContext) -> None:
        self._context = context
        self._sparse = _SparsePacks({}, frozenset())
        self._resume: dict[int, int] = {}  # offsets to go on at in large packs

    def step(self) -> int:
        """Compact some packs; return the number of bytes that were freed."""
        freed = unowned.unlink(self._context)  # also files that an interrupted step left
        if not self._sparse.losses:
            self._note()
        named = self._named_by_uploads() if self._sparse.losses else None
        if named is None:
            return freed
        self._compact(named)
        return freed + unowned.unlink(self._context)

    def _note(self) -> None:
        """Note sparse packs, then uploads.

        An upload that is not noted began after the losses were read.
        """
        with self._context.engine.read() as transaction:
            busy = {decode_commit(value).pack for _, value in transaction.scan(COMMITS)}
            numbers = [number_of(k) for k, _ in transaction.scan(PACKS_SPARSE, limit=_NOTED_MAX)]
            found = {n: transaction.get(PACKS, number_key(n)) for n in numbers if n not in busy}
        self._drop_rows([number for number, data in found.items() if data is None])
        uploads = {path.stem for path in self._context.layout.uploads.glob("*.parts")}
        packs = {number: decode_pack(data) for number, data in found.items() if data is not None}
        # Packs with the least live bytes first: those without any need no space, which a full disk
        # lacks.
        order = sorted(packs, key=lambda number: packs[number].live)
        self._sparse = _SparsePacks({n: packs[n].losses for n in order}, frozenset(uploads))
        self._resume = {}

    def _drop_rows(self, numbers: list[int]) -> None:
        if numbers:
            keys = [number_key(number) for number in numbers]
            self._context.engine.write(lambda t: t.delete_all(PACKS_SPARSE, keys))

    def _named_by_uploads(self) -> frozenset[int] | None:
        """Return the chunks that the noted uploads share; None while one of them receives bytes."""
        layout = self._context.layout
        left = [u for u in self._sparse.uploads if layout.upload_named(u, "parts").exists()]
        self._sparse = _SparsePacks(self._sparse.losses, frozenset(left))
        named: set[int] = set()
        for upload in left:
            found = self._chunks_of(upload)
            if found is None:
                return None
            named |= found
        return frozenset(named)

    def _chunks_of(self, upload: str) -> set[int] | None:
        """Return the ids of chunks that an idle upload shares; None while a request holds it."""
        layout = self._context.layout
        try:
            state_file = StateFile.open(layout.upload_named(upload, "state"), wait_seconds=0)
        except UploadBusy:
            return None
        except UploadUnknown:
            return set()
        try:
            state = state_file.read()
            if state is None or state.boot_id != self._context.boot_id:
                return set()
            return _read_shared(layout.upload(parse_upload_id(upload), "parts"), state.parts)
        finally:
            state_file.close()

    def _compact(self, named: frozenset[int]) -> None:
        """Move live chunks, up to the size of a step, and give up the packs that are empty then."""
        relocation = Relocation(self._context, named)
        try:
            for number, losses in list(self._sparse.losses.items()):
                if relocation.is_full:
                    break
                self._take(relocation, number, losses)
            relocation.finish()
        except StorageFull:
            relocation.finish()  # the changes that need no space
            self._sparse = _SparsePacks({}, frozenset())
            _logger.warning(
                "the disk is too full to compact packs: only packs without live data are freed"
            )
        finally:
            relocation.close()

    def _take(self, relocation: Relocation, number: int, losses: int) -> None:
        pack = self._sparse_pack(number, losses)
        at = None
        if pack is not None:
            try:
                at = relocation.take(number, pack, self._resume.get(number))
            except (Corrupt, FormatUnknown) as error:
                _logger.error("pack %s cannot be compacted: %s", pack.file_id.hex(), error)
                self._drop_rows([number])  # until the pack loses another chunk
        if at is None:
            del self._sparse.losses[number]
        else:
            self._resume[number] = at

    def _sparse_pack(self, number: int, losses: int) -> Pack | None:
        """Return the pack if it still is to be compacted, else None."""
        with self._context.engine.read() as transaction:
            data = transaction.get(PACKS, number_key(number))
        pack = None if data is None else decode_pack(data)
        if pack is not None and pack.losses != losses:
            return None  # it stays listed and is noted again
        if pack is None or (number not in self._resume and not recipes.is_sparse(pack)):
            self._drop_rows([number])
            return None
        return pack


def _read_shared(path: Path, count: int) -> set[int]:
    """Return the ids of shared chunks among the first `count` parts of a parts file."""
    try:
        descriptor = disk.open_existing(path)
    except FileNotFoundError:
        return set()
    try:
        return {
            part.id
            for first in range(0, count, _PARTS_READ)
            for part in parts.read(descriptor, first, min(_PARTS_READ, count - first))
            if not part.is_new
        }
    finally:
        os.close(descriptor)

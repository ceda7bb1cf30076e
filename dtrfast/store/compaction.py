"""Compacting sparse packs: which, and when. `docs/reliability.md` has the rule and why it holds.

A step notes which packs are sparse and how often each has lost a chunk, and afterwards which
uploads may have found chunks in them. Once none of those can still need what is without references,
the packs' live chunks move to a new pack, some a step. One thread; nobody waits for it.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dtrfast.errors import Corrupt, StorageFull, UploadBusy, UploadUnknown
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import COMMITS, PACKS, PACKS_SPARSE, number_key, number_of
from dtrfast.machine import disk
from dtrfast.store import parts, recipes, unowned
from dtrfast.store.context import Context
from dtrfast.store.records import Pack, decode_commit, decode_pack
from dtrfast.store.relocation import Relocation
from dtrfast.store.upload_state import StateFile, parse_upload_id

_logger = logging.getLogger("dtrfast.reclaim")

_NOTED_MAX = 1000
_PARTS_READ = 4096


@dataclass(frozen=True, slots=True)
class _Noted:
    """Sparse packs and their losses; and the uploads of that time, by id, that had parts."""

    losses: dict[int, int]
    uploads: frozenset[str]


class Compaction:
    """Compacts the sparse packs of one store."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._noted = _Noted({}, frozenset())
        self._resume: dict[int, int] = {}  # where in a large pack to go on

    def step(self) -> int:
        """Compact some packs; returns the bytes that were freed."""
        freed = unowned.unlink(self._context)  # also what a step that was cut off has left
        if not self._noted.losses:
            self._note()
        named = self._named_by_uploads() if self._noted.losses else None
        if named is None:
            return freed
        self._compact(named)
        return freed + unowned.unlink(self._context)

    def _note(self) -> None:
        """In this order: an upload that is not listed began after the losses were counted."""
        with self._context.engine.read() as transaction:
            busy = {decode_commit(value).pack for _, value in transaction.scan(COMMITS)}
            numbers = [number_of(k) for k, _ in transaction.scan(PACKS_SPARSE, limit=_NOTED_MAX)]
            found = {n: transaction.get(PACKS, number_key(n)) for n in numbers if n not in busy}
        self._drop_rows([number for number, data in found.items() if data is None])
        uploads = {path.stem for path in self._context.layout.uploads.glob("*.parts")}
        packs = {number: decode_pack(data) for number, data in found.items() if data is not None}
        # Those with nothing live first: they need no room, which a full disk has not.
        order = sorted(packs, key=lambda number: packs[number].live)
        self._noted = _Noted({n: packs[n].losses for n in order}, frozenset(uploads))
        self._resume = {}

    def _drop_rows(self, numbers: list[int]) -> None:
        if numbers:
            self._context.engine.write(partial(_drop, numbers=numbers))

    def _named_by_uploads(self) -> frozenset[int] | None:
        """The chunks that idle uploads of that time name; None while one of them is at work."""
        layout = self._context.layout
        left = [u for u in self._noted.uploads if layout.upload_named(u, "parts").exists()]
        self._noted = _Noted(self._noted.losses, frozenset(left))
        named: set[int] = set()
        for upload in left:
            found = self._chunks_of(upload)
            if found is None:
                return None
            named |= found
        return frozenset(named)

    def _chunks_of(self, upload: str) -> set[int] | None:
        """The chunks of others that an upload names; None while somebody writes to it."""
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
        """Move what is live, up to a step's measure, and give up the packs that are empty then."""
        relocation = Relocation(self._context, named)
        try:
            for number, losses in list(self._noted.losses.items()):
                if relocation.is_full:
                    break
                self._take(relocation, number, losses)
            relocation.finish()
        except StorageFull:
            relocation.finish()  # what needed no room
            self._noted = _Noted({}, frozenset())
            _logger.warning("the disk is too full to compact packs; whole ones are freed")
        finally:
            relocation.close()

    def _take(self, relocation: Relocation, number: int, losses: int) -> None:
        pack = self._sparse_pack(number, losses)
        at = None
        if pack is not None:
            try:
                at = relocation.take(number, pack, self._resume.get(number))
            except Corrupt as error:
                _logger.error("pack %s cannot be compacted: %s", pack.file_id.hex(), error)
                self._drop_rows([number])  # until it loses something more
        if at is None:
            del self._noted.losses[number]
        else:
            self._resume[number] = at

    def _sparse_pack(self, number: int, losses: int) -> Pack | None:
        """The pack, if it still is to be compacted."""
        with self._context.engine.read() as transaction:
            data = transaction.get(PACKS, number_key(number))
        pack = None if data is None else decode_pack(data)
        if pack is not None and pack.losses != losses:
            return None  # it is in the list, and noted again
        if pack is None or (number not in self._resume and not recipes.is_sparse(pack)):
            self._drop_rows([number])
            return None
        return pack


def _drop(transaction: WriteTransaction, numbers: list[int]) -> None:
    for number in numbers:
        transaction.delete(PACKS_SPARSE, number_key(number))


def _read_shared(path: Path, count: int) -> set[int]:
    """The chunks of others among the first `count` parts of a parts file."""
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

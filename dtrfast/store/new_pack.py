"""A pack that a relocation writes, until the index has it."""

from __future__ import annotations

import os
from functools import partial

from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import FILES, PACKS, number_key
from dtrfast.machine import disk
from dtrfast.machine.write_back import WriteBack
from dtrfast.store import packs, statistics, unowned
from dtrfast.store.context import StoreContext
from dtrfast.store.records import PACK_FILE, Pack, encode, pack_owner
from dtrfast.store.upload_state import new_file_id


class NewPack:
    """An open pack file. It is listed as unowned before it is created, until `enter`."""

    def __init__(self, context: StoreContext) -> None:
        self._context = context
        self.file_id = new_file_id(context.clock() * 1000)
        self.number = context.numbers.take()
        context.engine.write(partial(unowned.add, file_id=self.file_id, kind=PACK_FILE))
        self._path = context.layout.pack(self.file_id)
        self.descriptor = disk.create(self._path)
        self._write_back = WriteBack(self.descriptor)
        header = packs.header(context.store_id, self.file_id, context.clock())
        self.size = disk.write_at(self.descriptor, [header], 0)

    def append(self, buffers: list[bytes]) -> int:
        """Append the buffers; return the offset of the first."""
        offset = self.size
        self.size += disk.write_at(self.descriptor, buffers, offset)
        self._write_back.note(self.size)
        return offset

    def sync(self) -> None:
        """Put the file, then its directory, on stable storage."""
        disk.sync(self.descriptor)
        disk.sync_directory(self._path.parent)

    def close(self) -> None:
        self._write_back.close()
        os.close(self.descriptor)

    def enter(self, transaction: WriteTransaction) -> None:
        """Make the pack the index's, unless it is already. Call `sync` before."""
        if transaction.get(PACKS, number_key(self.number)) is None:
            now = self._context.clock()
            pack = Pack(version=1, file_id=self.file_id, size=self.size, live=0, created_at=now)
            transaction.put(PACKS, number_key(self.number), encode(pack))
            transaction.put(FILES, self.file_id, pack_owner(self.number))
            unowned.remove(transaction, self.file_id)
            statistics.add(transaction, packs=1, pack_bytes=self.size)

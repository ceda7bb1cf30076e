"""Open packs, and chunks read from them.

A process keeps some packs open between requests. A descriptor is lent for as long as its `with`
block and is closed by whoever is last: a pack that was unlinked meanwhile stays readable to those
who hold it.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from dtrfast import _core
from dtrfast.errors import Corrupt, StorageFailed
from dtrfast.index.engine import Engine
from dtrfast.index.tables import PACKS, number_key
from dtrfast.machine import disk
from dtrfast.machine.paths import Layout
from dtrfast.store import codec
from dtrfast.store.records import Chunk, decode_pack

_OPEN_MAX = 256


class OpenPack:
    """A descriptor with the number of those who use it, the cache among them."""

    __slots__ = ("descriptor", "users")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.users = 1


class ChunkFiles:
    """Reads chunks by their place. Safe from many threads."""

    def __init__(self, engine: Engine, layout: Layout) -> None:
        self._engine = engine
        self._layout = layout
        self._lock = threading.Lock()
        self._packs: OrderedDict[int, OpenPack] = OrderedDict()

    def acquire(self, number: int) -> OpenPack | None:
        """The pack, open; `release` it. None when it is not there any more: whoever learned of it
        from the index asks that again.
        """
        with self._lock:
            pack = self._packs.get(number)
            if pack is not None:
                self._packs.move_to_end(number)
                pack.users += 1
                return pack
        descriptor = self._open(number)
        return None if descriptor is None else self._remember(number, OpenPack(descriptor))

    def release(self, pack: OpenPack) -> None:
        with self._lock:
            pack.users -= 1
            if pack.users == 0:
                os.close(pack.descriptor)

    @contextmanager
    def lent(self, number: int) -> Iterator[int]:
        """The pack's descriptor for the length of the block. Raises `Corrupt` when it is gone."""
        pack = self.acquire(number)
        if pack is None:
            raise Corrupt(f"pack {number} is not on the disk: restore it")
        try:
            yield pack.descriptor
        finally:
            self.release(pack)

    def read(self, place: Chunk) -> bytes:
        """The chunk's content. Raises `Corrupt`, `StorageFailed`."""
        with self.lent(place.pack) as descriptor:
            stored = disk.read_at(descriptor, place.stored, place.offset)
        return codec.decode(place.codec, stored, place.length)

    def equal(self, place: Chunk, data: memoryview) -> bool:
        """Whether the stored chunk has these bytes. A chunk that cannot be read is equal to
        nothing: a push stores it again.
        """
        try:
            return _core.equal(self.read(place), data)
        except (Corrupt, StorageFailed):
            return False

    def drop_unlinked(self) -> None:
        """Let go of packs that were compacted: while one is open its space is not free."""
        with self._lock:
            gone = [n for n, p in self._packs.items() if os.fstat(p.descriptor).st_nlink == 0]
            packs = [self._packs.pop(number) for number in gone]
        for pack in packs:
            self.release(pack)

    def close(self) -> None:
        with self._lock:
            packs, self._packs = list(self._packs.values()), OrderedDict()
        for pack in packs:
            self.release(pack)

    def _open(self, number: int) -> int | None:
        with self._engine.read() as transaction:
            data = transaction.get(PACKS, number_key(number))
        if data is None:
            return None
        try:
            return disk.open_existing(self._layout.pack(decode_pack(data).file_id))
        except FileNotFoundError:
            return None

    def _remember(self, number: int, pack: OpenPack) -> OpenPack:
        """Add a pack that was opened without the lock; another thread may have been faster."""
        with self._lock:
            known = self._packs.get(number)
            if known is not None:
                known.users += 1
                os.close(pack.descriptor)
                return known
            pack.users += 1
            self._packs[number] = pack
            oldest = self._packs.popitem(last=False)[1] if len(self._packs) > _OPEN_MAX else None
        if oldest is not None:
            self.release(oldest)
        return pack

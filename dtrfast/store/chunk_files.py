"""Open packs, and chunks read from them.

A process keeps some packs open between requests. A descriptor is lent for the length of a `with`
block, and its last user closes it. So a pack that was unlinked meanwhile stays readable for its
users.
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
    """A descriptor and the number of its users. The cache is one of them."""

    __slots__ = ("descriptor", "users")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.users = 1


class ChunkFiles:
    """Reads chunks by their records. Safe from many threads."""

    def __init__(self, engine: Engine, layout: Layout) -> None:
        self._engine = engine
        self._layout = layout
        self._lock = threading.Lock()
        self._packs: OrderedDict[int, OpenPack] = OrderedDict()

    def acquire(self, number: int) -> OpenPack | None:
        """Return the open pack; the caller must `release` it.

        None if the pack is gone: a caller that has the number from the index reads the index again.
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
        """The pack's descriptor, for the length of the block.

        Raises `Corrupt` if the pack is gone.
        """
        pack = self.acquire(number)
        if pack is None:
            raise Corrupt(f"pack {number} is not on the disk: restore it")
        try:
            yield pack.descriptor
        finally:
            self.release(pack)

    def read(self, place: Chunk) -> bytes:
        """Return the chunk's content. Raises `Corrupt`, `StorageFailed`."""
        with self.lent(place.pack) as descriptor:
            stored = disk.read_at(descriptor, place.stored, place.offset)
        return codec.decode(place.codec, stored, place.length)

    def equal(self, place: Chunk, data: memoryview) -> bool:
        """Return True if the stored chunk has these bytes.

        A chunk that cannot be read equals nothing, so that a push stores its bytes again.
        """
        try:
            return _core.equal(self.read(place), data)
        except (Corrupt, StorageFailed):
            return False

    def drop_unlinked(self) -> None:
        """Close packs that were unlinked: the space of an open file is not free."""
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
        """Add a pack that was opened without the lock.

        Another thread may have added it meanwhile.
        """
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

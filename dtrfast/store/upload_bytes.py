"""The bytes of an upload: hashed as they come, then put into its files.

They are received into a large buffer. The first 8 KiB are held back: a blob that ends within them
is *inline*. Then the first bytes decide between *loose* (compressed content, a file byte for byte)
and *chunked* (a pack of its own, fed by `Ingest`). The bytes that no chunk was cut from yet are the
*tail*.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Set
from contextlib import contextmanager

from dtrfast.machine import disk
from dtrfast.oci.digests import Digest
from dtrfast.store import codec, packs, parts, tails
from dtrfast.store.blobs import FILL_SIZE_MIN
from dtrfast.store.context import StoreContext
from dtrfast.store.hashing import UploadHasher
from dtrfast.store.ingest import Ingest, Position
from dtrfast.store.part_reader import PartReader
from dtrfast.store.pending import PendingBytes
from dtrfast.store.tails import SavedTail, TailFile
from dtrfast.store.upload_files import UploadFiles
from dtrfast.store.upload_state import Mode, UploadState

INLINE_SIZE_MAX = 8192  # design: configs and small artifacts, one look-up instead of a file
_READ_SIZE = 1 << 20
# Bytes are hashed in pieces of this size as they come: they still are in the cache, and the other
# core has something to do while more are received.
_HASH_SIZE = 1 << 18


class UploadBytes:
    """The bytes of one upload, from a state on. The upload owns and closes `files`.

    `mode` and `offset` are as in `UploadState`. `has_failed`: the files may not fit the offset, so
    that no state may be saved any more.
    """

    def __init__(
        self, context: StoreContext, file_id: bytes, files: UploadFiles, state: UploadState
    ) -> None:
        self.mode: Mode = state.mode
        self.offset = state.offset
        self.has_failed = False
        self._context = context
        self._file_id = file_id
        self._files = files
        self._hashing = UploadHasher(context.second_thread, state.sha256, state.sha512)
        self._pending = PendingBytes(context.buffers, state.head, saved=state.tail_size)
        saved = SavedTail(state.tail_size, state.tail_slot)
        self._tail = TailFile(context.layout.upload(file_id, "tail"), saved)
        self._unhashed = 0  # bytes at the end of those pending
        self._scanned = 0  # bytes at the beginning of those pending that hold no cut
        self._position = Position(state.pack_size, state.parts)
        self._ingest: Ingest | None = None

    @property
    def position(self) -> Position:
        """The ends of the pack and of the parts file."""
        return self._position if self._ingest is None else self._ingest.at

    @property
    def head(self) -> bytes:
        """The content, while the mode is head."""
        return bytes(self._pending.in_memory())

    # ---- bytes in -----------------------------------------------------------------------------
    def room(self) -> memoryview:
        """Writable memory for the next bytes."""
        return self._pending.room()

    def add(self, count: int) -> None:
        """Take the `count` bytes that were put at the front of the room."""
        self._pending.add(count)
        self.offset += count
        self._unhashed += count
        if self._unhashed >= _HASH_SIZE:
            self._hash()
        if self.mode == "head" and self._pending.size > INLINE_SIZE_MAX:
            self._choose()

    @property
    def is_full(self) -> bool:
        """True if the bytes must be stored before more are received."""
        return len(self._pending.room()) < FILL_SIZE_MIN

    @property
    def is_storing_due(self) -> bool:
        """True if the pending bytes should not wait for more, which do not come for now."""
        if self.mode == "chunked":
            return self._pending.is_large and self._context.buffers.is_scarce
        return self.mode == "loose" and self._pending.size > 0

    @property
    def is_tail_too_large(self) -> bool:
        """True if the pending bytes do not fit a slot of the tail file."""
        return self.mode == "chunked" and self._pending.size >= tails.SIZE_MAX

    def rest(self) -> None:
        """Hash all bytes and give buffers back, since no bytes come for now."""
        self._hash()
        self._hashing.settle()
        self._pending.park()

    def store(self, *, final: bool = False) -> None:
        """Write the pending bytes to their files.

        A tail of a chunked upload stays pending, unless `final`. Raises `StorageFull` and
        `StorageFailed`.
        """
        self._hash()
        try:
            with self.fragile():
                self._pending.load(self._tail.read_into)
                data = self._pending.in_memory()
                self._context.space.check(len(data))
                if self.mode == "loose":
                    begin = self.offset - len(data)
                    used = disk.write_at(self._files.data(self.mode), [data], begin)
                else:
                    if self._ingest is None:
                        files = (self._files.data(self.mode), self._files.parts())
                        self._ingest = Ingest(self._context, files, self._position)
                    used = self._ingest.feed(data, scanned=self._scanned, final=final)
                end = self.offset if self.mode == "loose" else self.position.pack_size
                self._files.write_early(self.mode, end)
        finally:
            self._hashing.settle()
        self._pending.drop(used)
        self._scanned = self._pending.size

    @contextmanager
    def fragile(self) -> Iterator[None]:
        """After a failure in the block the files do not fit the offset.

        The state on disk, and the tail that it names, stay as they are.
        """
        try:
            yield
        except BaseException:
            self.has_failed = True
            raise

    def _hash(self) -> None:
        if self._unhashed:
            self._hashing.update(self._pending.last(self._unhashed))
            self._unhashed = 0

    def _choose(self) -> None:
        """Choose loose or chunked by the first bytes, and create the data file."""
        first = bytes(self._pending.in_memory()[:8])
        self.mode = "loose" if codec.is_compressed(first) else "chunked"
        with self.fragile():
            descriptor = self._files.create_data(self.mode)
            if self.mode == "chunked":
                context = self._context
                header = packs.header(context.store_id, self._file_id, context.clock())
                self._position = Position(disk.write_at(descriptor, [header], 0), 0)

    # ---- bytes out ----------------------------------------------------------------------------
    def digest(self, algorithm: str) -> Digest:
        """Return the digest of the bytes so far.

        Reads all of them again for SHA-512, if the upload did not begin with that algorithm.
        """
        if algorithm == "sha256":
            return Digest("sha256", self._hashing.sha256.digest())
        if self._hashing.sha512 is not None:
            return Digest("sha512", self._hashing.sha512.digest())
        hasher = hashlib.sha512()
        for data in self.read_back():
            hasher.update(data)
        return Digest("sha512", hasher.digest())

    def read_back(self, begin: int = 0, end: int | None = None) -> Iterator[bytes | memoryview]:
        """The bytes from `begin` to `end`, or to the offset. Nothing may be added meanwhile."""
        end = self.offset if end is None else end
        if self.mode == "loose":
            for offset in range(begin, end, _READ_SIZE):
                size = min(_READ_SIZE, end - offset)
                yield disk.read_at(self._files.data(self.mode), size, offset)
            return
        offset = 0
        if self.mode == "chunked":
            self._pending.load(self._tail.read_into)
            stored = PartReader(self._context, self._files.data(self.mode), self._files.parts())
            yield from stored.read(self.position.parts, begin, end)
            offset = self.offset - self._pending.size
        if offset < end:
            yield self._pending.in_memory()[max(0, begin - offset) : end - offset]

    # ---- state --------------------------------------------------------------------------------
    def hash_states(self) -> tuple[bytes, bytes | None]:
        """The states of SHA-256 and, if it is computed, of SHA-512."""
        sha512 = self._hashing.sha512
        return self._hashing.sha256.save(), None if sha512 is None else sha512.save()

    def write_tail(self, named: Set[int]) -> SavedTail:
        """Write the tail of a chunked upload; return the one that the next state is to name.

        Keeps the tails in the slots `named`.
        """
        return (
            self._tail.write(self._pending, named) if self.mode == "chunked" else self._tail.saved
        )

    def tail_is_saved(self, tail: SavedTail) -> None:
        """Note that a state was written that names this tail."""
        self._tail.saved = tail

    def leave_tail(self) -> None:
        """Give the buffer of a chunked upload back: its tail is saved."""
        if self.mode == "chunked":
            self._pending.leave(self._tail.saved.size)

    def close(self) -> None:
        """Give the buffer back. The bytes cannot be used any more."""
        self._ingest = None
        self._pending.leave(0)

    # ---- the finished files -------------------------------------------------------------------
    @property
    def data_size(self) -> int:
        """Bytes of the loose file or, when it is finished, of the pack."""
        return self.offset if self.mode == "loose" else self.position.pack_size + self.recipe_size

    @property
    def recipe_size(self) -> int:
        """Bytes of the recipe at the end of the finished pack."""
        return packs.recipe_size(self.position.parts)

    def read_parts(self, first: int, count: int) -> list[parts.UploadPart]:
        """Return `count` parts from the part `first` on."""
        return parts.read(self._files.parts(), first, count)

    def write_recipe(self) -> None:
        """Write the recipe behind the pack's chunks, so that it is not in the index alone."""
        end, offset = self.position.pack_size, 0
        sha256 = self.digest("sha256").raw
        with self.fragile():
            for first in range(0, self.position.parts, packs.RECIPE_PARTS_MAX):
                count = min(packs.RECIPE_PARTS_MAX, self.position.parts - first)
                some = [(part.id, part.length) for part in self.read_parts(first, count)]
                piece = packs.RecipePiece(sha256, self.offset, offset, some)
                descriptor = self._files.data(self.mode)
                end += disk.write_at(descriptor, [packs.recipe_piece(piece)], end)
                offset += sum(length for _, length in some)

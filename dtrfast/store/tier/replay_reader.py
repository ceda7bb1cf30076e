"""The bytes of an evicted content, re-created while they are read.

Segments are replayed on several cores and handed out in order. Each is handed out only after its
checksum matched. The last bytes of a whole content are handed out only after its digest matched. A
mismatch marks the content as damaged, so that it is not served any more and a push heals it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial
from types import TracebackType
from typing import Self

import xxhash

from dtrfast import _core
from dtrfast.errors import Corrupt, DtrfastError
from dtrfast.store.blobs import BlobStat
from dtrfast.store.contents import NumberedContent
from dtrfast.store.context import StoreContext
from dtrfast.store.damage import is_damage
from dtrfast.store.tier import encoding, quarantine, replays
from dtrfast.store.tier.encoding import ReplayFailed
from dtrfast.store.tier.plain_reader import PlainReader
from dtrfast.store.tier.replay_pool import SegmentJob
from dtrfast.store.tier.replays import Replay, Segment

# Bytes of a segment that are handed out at a time.
_PIECE_SIZE = 256 * 1024


class ReplayReader:
    """`BlobReader` of an evicted content. One thread at a time."""

    def __init__(
        self,
        context: StoreContext,
        stat: BlobStat,
        found: NumberedContent,
        replay: Replay,
        bounds: tuple[int, int],
    ) -> None:
        """`bounds`: the range of the blob in bytes. Raises `ServerBusy`, `FormatUnknown`."""
        self.stat = stat
        self._context = context
        self._found = found
        self._replay = replay
        self._begin, self._end = bounds
        self._encoder = encoding.encoder_of(replay.encoder)
        self._plain = PlainReader(context, replay.recipe)
        self._jobs: deque[tuple[Segment, SegmentJob]] = deque()
        context.replay_pool.enter()
        self._is_open = True

    def __iter__(self) -> Iterator[bytes]:
        if self._begin == self._end:
            return
        if not self._replay.has_its_frame:
            raise self._damaged("its gzip header or trailer has changed", None)
        is_whole = (self._begin, self._end) == (0, self.stat.size)
        hasher = _core.Sha256()
        held = b""  # the last piece of a whole content waits for the digest
        at = 0
        for piece, offset in self._pieces():
            low, high = max(self._begin - offset, 0), min(self._end - offset, len(piece))
            if low >= high:
                continue
            if is_whole:
                hasher.update(piece)
                if held:
                    yield held
                held = piece
            else:
                yield piece if high - low == len(piece) else piece[low:high]
            at = offset + high
        if at != self._end:
            raise self._damaged("its replay recipe is too short", None)
        if is_whole:
            if hasher.digest() != self._found.content.sha256:
                raise self._damaged("the re-created bytes have another digest", None)
            yield held

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            while self._jobs:
                self._context.replay_pool.drop(self._jobs.popleft()[1])
            self._context.replay_pool.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _pieces(self) -> Iterator[tuple[bytes, int]]:
        """The pieces of the blob that the range needs, and the offset of each."""
        header, trailer = self._replay.header, self._replay.trailer
        body_end = self.stat.size - len(trailer)
        if self._begin < len(header):
            yield header, 0
        if self._begin < body_end and self._end > len(header):
            for segment, data in self._segments(max(self._begin - len(header), 0)):
                for first in range(0, len(data), _PIECE_SIZE):
                    piece = data[first : first + _PIECE_SIZE]
                    yield piece, len(header) + segment.begin + first
        if trailer and self._end > body_end:
            yield trailer, body_end

    def _segments(self, offset: int) -> Iterator[tuple[Segment, bytes]]:
        """The segments from the one that has the byte `offset` on, and their bytes."""
        pool = self._context.replay_pool
        end = self._end - len(self._replay.header)
        coming = replays.segments(self._context.engine, self.stat.size, self._replay, offset)
        is_over = False
        while not is_over or self._jobs:
            while not is_over and len(self._jobs) < pool.ahead:
                try:
                    segment = next(coming, None)
                except Corrupt as error:
                    raise self._damaged(str(error), None) from error
                is_over = segment is None or segment.begin >= end
                if segment is not None and not is_over:
                    key = (self._replay.recipe, segment.begin)
                    work = partial(self._recreate, segment)
                    self._jobs.append((segment, pool.request(key, work)))
            if not self._jobs:
                return
            segment, job = self._jobs[0]
            try:
                data = job.wait()
            except ReplayFailed as error:
                raise self._damaged(str(error), segment) from error
            except DtrfastError as error:
                if not is_damage(error):
                    raise
                raise self._damaged(str(error), segment) from error
            self._jobs.popleft()
            pool.drop(job)
            yield segment, data

    def _recreate(self, segment: Segment) -> bytes:
        """Re-create a segment. Raises `Corrupt` or `ReplayFailed` if it is not as it was."""
        data = encoding.encode_segment(
            self._encoder,
            self._plain.read,
            self._replay.plain_size,
            (segment.plain_begin, segment.plain_end),
            segment.state,
            segment.end - segment.begin,
        )
        if xxhash.xxh3_128_digest(data) != segment.hash:
            raise Corrupt(f"the bytes re-created from {segment.begin} on are not those pushed")
        return data

    def _damaged(self, reason: str, segment: Segment | None) -> Corrupt:
        """Mark the content as damaged, unless it was freed or moved meanwhile."""
        quarantine.quarantine(self._context, self._found, self._replay, segment, reason)
        return Corrupt(f"{self.stat.digest} cannot be re-created ({reason}): push it again")

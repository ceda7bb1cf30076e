"""The bytes of an evicted content, re-created while they are read.

Segments are replayed on several cores and handed out in order. Each is handed out only after its
checksum matched. The last bytes of a whole content are handed out only after its digest matched. A
mismatch marks the content as damaged, so that it is not served any more and a push heals it.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
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
# After this time without a segment, an empty piece is handed out: the thread may do other work.
# While few pull, a segment comes in the time of its replay, and the thread waits for it. Looks
# every 10 ms gave 57 to 62 MB/s where a longer wait gave 66 to 73. Later looks are short.
_FIRST_WAIT_SECONDS = 0.05
_WAIT_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class ReadUse:
    """The use of bytes that are read.

    `marks_damage`: mark an evicted content that cannot be re-created. `continues`: an answer with
    the bytes before has begun.
    """

    marks_damage: bool = True
    continues: bool = False


_ANSWER = ReadUse()


class ReplayReader:
    """`BlobReader` of an evicted content. One thread at a time."""

    def __init__(
        self,
        context: StoreContext,
        stat: BlobStat,
        found: NumberedContent,
        replay: Replay,
        bounds: tuple[int, int],
        use: ReadUse = _ANSWER,
    ) -> None:
        """`bounds`: the range of the blob in bytes.

        Raises `FormatUnknown`, and `ServerBusy` unless it continues.
        """
        self.stat = stat
        self._context = context
        self._found = found
        self._replay = replay
        self._begin, self._end = bounds
        self._use = use
        self._encoder = encoding.encoder_of(replay.encoder)
        self._plain = PlainReader(context, replay.recipe)
        self._expected: list[Hashable] = []  # keys of segments
        self._needed: SegmentJob | None = None
        context.replay_pool.enter(continues=use.continues)
        self._is_open = True

    def __iter__(self) -> Iterator[bytes]:
        if self._begin == self._end:
            return
        if not self._replay.has_its_frame:
            raise self._damaged("its gzip header or trailer has changed", None)
        is_whole = (self._begin, self._end) == (0, self.stat.size)
        has_begun = False  # an answer begins with its first piece, and has its status then
        for piece in self._whole() if is_whole else self._part():
            has_begun = has_begun or bool(piece)
            if has_begun:
                yield piece

    def _whole(self) -> Iterator[bytes]:
        """The pieces of the content. The last one waits for the digest."""
        hasher = _core.Sha256()
        held = b""
        size = 0
        for piece, _ in self._pieces():
            hasher.update(piece)
            size += len(piece)
            if piece:
                yield held
                held = piece
            else:
                yield b""
        self._require_end(size)
        if hasher.digest() != self._found.content.sha256:
            raise self._damaged("the re-created bytes have another digest", None)
        yield held

    def _part(self) -> Iterator[bytes]:
        """The pieces of the range, cut to it."""
        at = self._begin
        for piece, offset in self._pieces():
            cut = piece[max(self._begin - offset, 0) : max(self._end - offset, 0)]
            at += len(cut)
            if cut or not piece:
                yield cut
        self._require_end(at)

    def _require_end(self, at: int) -> None:
        if at != self._end:
            raise self._damaged("its replay recipe is too short", None)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._expect(())
            if self._needed is not None:
                self._context.replay_pool.drop(self._needed)
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
        """The pieces of the blob that the range needs, and the offset of each.

        A piece is empty if the next one takes its time.
        """
        header, trailer = self._replay.header, self._replay.trailer
        body_end = self.stat.size - len(trailer)
        if self._begin < len(header):
            yield header, 0
        if self._begin < body_end and self._end > len(header):
            for segment, data in self._segments(max(self._begin - len(header), 0)):
                if not data:
                    yield b"", 0
                for first in range(0, len(data), _PIECE_SIZE):
                    piece = data[first : first + _PIECE_SIZE]
                    yield piece, len(header) + segment.begin + first
        if trailer and self._end > body_end:
            yield trailer, body_end

    def _segments(self, offset: int) -> Iterator[tuple[Segment, bytes]]:
        """The segments from the one that has the byte `offset` on, and their bytes.

        A segment comes without bytes while it is not done.
        """
        pool = self._context.replay_pool
        coming = self._wanted(offset)
        ahead: deque[Segment] = deque()
        while True:
            ahead.extend(itertools.islice(coming, pool.ahead + 1 - len(ahead)))
            if not ahead:
                return
            segment = ahead.popleft()
            self._needed = pool.request(*self._job_of(segment))
            self._expect(ahead)
            data = self._wait(self._needed, segment, _FIRST_WAIT_SECONDS)
            while data is None:
                yield segment, b""
                data = self._wait(self._needed, segment, _WAIT_SECONDS)
            pool.drop(self._needed)
            self._needed = None
            yield segment, data

    def _wanted(self, offset: int) -> Iterator[Segment]:
        """The segments from the one that has the byte `offset` on, up to the end of the range."""
        end = self._end - len(self._replay.header)
        try:
            for segment in replays.segments(
                self._context.engine, self.stat.size, self._replay, offset
            ):
                if segment.begin >= end:
                    return
                yield segment
        except Corrupt as error:
            raise self._damaged(str(error), None) from error

    def _job_of(self, segment: Segment) -> tuple[Hashable, Callable[[], bytes]]:
        return (self._replay.recipe, segment.begin), partial(self._recreate, segment)

    def _expect(self, segments: Iterable[Segment]) -> None:
        """Let the pool begin with the segments that follow, and with no others."""
        pool = self._context.replay_pool
        former, self._expected = self._expected, []
        for one in segments:
            key, work = self._job_of(one)
            if pool.expect(key, work):
                self._expected.append(key)
        for key in former:
            pool.expect_no_more(key)

    def _wait(self, job: SegmentJob, segment: Segment, seconds: float) -> bytes | None:
        """Return the bytes of a segment, or None if it is not done soon."""
        try:
            return job.wait(seconds)
        except ReplayFailed as error:
            raise self._damaged(str(error), segment) from error
        except DtrfastError as error:
            if not is_damage(error):
                raise
            raise self._damaged(str(error), segment) from error

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
        if self._use.marks_damage:
            quarantine.quarantine(self._context, self._found, self._replay, segment, reason)
        return Corrupt(f"{self.stat.digest} cannot be re-created ({reason}): push it again")

"""Opens a content for reading, wherever its bytes come from.

A content may be evicted, or become a file again, while it is read. Its reader then goes on at the
new place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

from dtrfast.errors import Corrupt
from dtrfast.index.tables import CONTENTS, number_key
from dtrfast.store.blobs import BlobReader, BlobStat, Extent, Segment
from dtrfast.store.contents import NumberedContent
from dtrfast.store.context import StoreContext
from dtrfast.store.local_reader import LocalReader
from dtrfast.store.read_ahead import ReadAhead
from dtrfast.store.records import decode_content
from dtrfast.store.tier import quarantine, replays
from dtrfast.store.tier.replay_reader import ReadUse, ReplayReader
from dtrfast.store.tier.replays import Replay

_ANSWER = ReadUse()


def open_content(
    context: StoreContext,
    stat: BlobStat,
    found: NumberedContent,
    bounds: tuple[int, int],
    ahead: ReadAhead | None = None,
    use: ReadUse = _ANSWER,
) -> BlobReader:
    """Open the bytes of a content from `bounds[0]` to `bounds[1]`.

    `ahead` paces reads of files. Raises `Corrupt`, `FormatUnknown`, and `ServerBusy` for an evicted
    content, unless it continues.
    """
    inner: BlobReader
    if found.content.kind != "recreated":
        inner = LocalReader(context, stat, found.number, bounds[0], bounds[1] - bounds[0], ahead)
        return _FollowingReader(context, found, inner, bounds, use)
    replay, reason = _replay_of(context, found.number)
    if replay is not None:
        inner = ReplayReader(context, stat, found, replay, bounds, use)
        return _FollowingReader(context, found, inner, bounds, use)
    now = _moved(context, found)
    if now is None:
        if use.marks_damage:
            quarantine.quarantine(context, found, None, None, reason)
        raise Corrupt(f"{stat.digest} cannot be re-created ({reason}): push it again")
    return open_content(context, stat, now, bounds, ahead, use)


def _replay_of(context: StoreContext, number: int) -> tuple[Replay | None, str]:
    """Return the replay recipe of a content; None and the reason if there is none."""
    try:
        with context.engine.read() as transaction:
            return replays.find(transaction, number), "its replay recipe is gone"
    except Corrupt as error:
        return None, str(error)


def _moved(context: StoreContext, found: NumberedContent) -> NumberedContent | None:
    """Return a content that was evicted or expanded since it was found; None if it was not."""
    with context.engine.read() as transaction:
        data = transaction.get(CONTENTS, number_key(found.number))
    now = None if data is None else decode_content(data)
    if now is None or (now.kind, now.file_id) == (found.content.kind, found.content.file_id):
        return None
    return NumberedContent(found.number, now)


class _FollowingReader:
    """`BlobReader` that goes on at the content's new place if `inner` loses its bytes."""

    __slots__ = ("_at", "_context", "_end", "_found", "_inner", "_next", "_use", "stat")

    def __init__(
        self,
        context: StoreContext,
        found: NumberedContent,
        inner: BlobReader,
        bounds: tuple[int, int],
        use: ReadUse,
    ) -> None:
        self.stat = inner.stat
        self._use = use
        self._context = context
        self._found = found
        self._inner = inner
        self._at, self._end = bounds
        self._next: BlobReader | None = None

    def __iter__(self) -> Iterator[Segment]:
        try:
            for segment in self._inner:
                self._at += segment.length if isinstance(segment, Extent) else len(segment)
                yield segment
        except Corrupt:
            now = _moved(self._context, self._found)
            if now is None:
                raise
            bounds = self._at, self._end
            self._next = open_content(
                self._context,
                self.stat,
                now,
                bounds,
                use=replace(self._use, continues=True),
            )
            yield from self._next

    def close(self) -> None:
        self._inner.close()
        if self._next is not None:
            self._next.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

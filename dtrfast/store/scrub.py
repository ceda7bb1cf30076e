"""The background scrub: reads the whole store at a bounded rate, again and again.

A round checks the chunks of all packs, then the digests of all contents. The index has the
progress, so that a restart goes on there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

import msgspec

from dtrfast.errors import Corrupt, FormatUnknown
from dtrfast.index.engine import ReadTransaction, Table
from dtrfast.index.tables import CONTENTS, PACKS, STORE, number_key, number_of
from dtrfast.store import checking
from dtrfast.store.context import StoreContext

_logger = logging.getLogger("dtrfast.scrub")

_KEY = b"scrub"
_DAY_SECONDS = 86_400
_STEP_SECONDS_MAX = 1.0  # the most time since the last step that counts for the rate
_SAVED_SECONDS = 10.0  # interval of saves: a restart repeats as much


class Round(msgspec.Struct, frozen=True, array_like=True):
    """A round over the store. `phase` 0: packs, 1: contents, 2: ended.

    `at`: the number of the last pack or content that was checked. `bytes`: bytes read. Times are
    seconds since the epoch.
    """

    version: int = 1
    started_at: int = 0
    ended_at: int = 0
    phase: int = 2
    at: int = 0
    bytes: int = 0


_Check = Callable[[StoreContext, int], Iterator[int]]
_PHASES: tuple[tuple[Table, _Check], ...] = (
    (PACKS, checking.check_pack),
    (CONTENTS, checking.check_content),
)
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Round)


def read(transaction: ReadTransaction) -> Round:
    """Return the present round, or the last one."""
    data = transaction.get(STORE, _KEY)
    return Round() if data is None else _decoder.decode(data)


def everything(context: StoreContext) -> Iterator[int]:
    """Check all packs, then all contents. Yields the size of each read in bytes."""
    for table, check in _PHASES:
        at = 0
        while (number := _next(context, table, at)) is not None:
            yield from _checked(context, check, number)
            at = number


def _checked(context: StoreContext, check: _Check, number: int) -> Iterator[int]:
    """Check a pack or a content. One whose rows cannot be read does not end the round."""
    try:
        yield from check(context, number)
    except (Corrupt, FormatUnknown) as error:
        _logger.error("pack or content %d cannot be checked: %s", number, error)


def _next(context: StoreContext, table: Table, after: int) -> int | None:
    with context.engine.read() as transaction:
        for key, _ in transaction.scan(table, after=number_key(after), limit=1):
            return number_of(key)
    return None


class Scrub:
    """Scrubs one store. One thread."""

    def __init__(
        self, context: StoreContext, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._context = context
        self._monotonic = monotonic
        self._round = Round()
        self._work: Iterator[int] | None = None
        self._stepped_at = self._saved_at = monotonic()

    def step(self) -> int:
        """Read as many bytes as the rate allows since the last step; return their number."""
        limits = self._context.limits.read()
        if self._work is None:
            with self._context.engine.read() as transaction:
                self._round = read(transaction)
        now = self._monotonic()
        elapsed, self._stepped_at = now - self._stepped_at, now
        if self._work is None:
            if self._round.phase == 2:
                due = self._round.started_at + int(limits.scrub_days * _DAY_SECONDS)
                if limits.scrub_days <= 0 or self._context.clock() < due:
                    return 0
                self._round = Round(started_at=self._context.clock(), phase=0)
            self._work = self._all()
        budget = limits.scrub_bytes_per_second * min(elapsed, _STEP_SECONDS_MAX)
        return self._read(int(budget))

    def _read(self, budget: int) -> int:
        assert self._work is not None
        done = 0
        try:
            for count in self._work:
                done += count
                if done >= budget:
                    break
            else:
                self._work = None
        except BaseException:
            self._work = None  # the next step goes on behind the last content
            raise
        if self._work is None:
            ended_at = self._context.clock()
            self._round = msgspec.structs.replace(self._round, ended_at=ended_at, phase=2)
            _logger.info("scrub has read the whole store: %d bytes", self._round.bytes + done)
        self._round = msgspec.structs.replace(self._round, bytes=self._round.bytes + done)
        if self._work is None or self._monotonic() - self._saved_at > _SAVED_SECONDS:
            self._saved_at = self._monotonic()
            data = _encoder.encode(self._round)
            self._context.engine.write(lambda transaction: transaction.put(STORE, _KEY, data))
        return done

    def _all(self) -> Iterator[int]:
        for phase in range(self._round.phase, len(_PHASES)):
            table, check = _PHASES[phase]
            at = self._round.at if phase == self._round.phase else 0
            while (number := _next(self._context, table, at)) is not None:
                yield 0  # so that a step can stop before each pack or content
                yield from _checked(self._context, check, number)
                at = number
                self._round = msgspec.structs.replace(self._round, phase=phase, at=at)
            self._round = msgspec.structs.replace(self._round, phase=phase + 1, at=0)

"""Folding: equal events within a minute become one event and one count.

The first of equal events is written at once, the count when the minute is over. A killed process
thus loses only counts. Each owner (an address or an actor) has an allowance of different events.
Once it is used up, the owner's events are folded by kind. Events of administrators are never
folded.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from dtrfast.identity.client_networks import network_of
from dtrfast.identity.shares import Share

if TYPE_CHECKING:
    from dtrfast.identity.events import Event

_FOLD_SECONDS = 60.0
# The maximum of folds, and of owners, in one share. Beyond it, events are folded by kind alone.
_FOLDS_MAX = 10_000
# At this rate, one caller takes days to fill a share of a log of the default size.
_MORE_PER_SECOND = 10 / 60


@dataclass(frozen=True, slots=True)
class Rule:
    """The folding of a share: its `owner` may write `burst` different events, and 10 more a minute.

    `is_exact`: events with different details are different.
    """

    owner: Literal["actor", "remote"]
    burst: float
    is_exact: bool


# All pushes of different content are written: the log must tell which client pushed which digest.
RULES = {
    Share.CHANGES: Rule("actor", 500, is_exact=True),
    Share.CONTENT: Rule("actor", float("inf"), is_exact=True),
    Share.SIGN_INS: Rule("actor", 100, is_exact=True),
    Share.REFUSALS: Rule("remote", 100, is_exact=False),
}


@dataclass(slots=True)
class _Fold:
    """Equal events since `began`: the first was written, the others are counted."""

    event: Event
    began: float
    count: int = 0


@dataclass(slots=True)
class _Allowance:
    """The number of different events that an owner may still write, as of `at`."""

    left: float
    at: float


class Folder:
    """Decides which events of one share are written. Safe from many threads.

    `clock` gives seconds that never go back.
    """

    def __init__(self, rule: Rule, clock: Callable[[], float]) -> None:
        self._rule = rule
        self._clock = clock
        self._folds: dict[tuple[object, ...], _Fold] = {}
        self._allowances: dict[str, _Allowance] = {}
        self._lock = threading.Lock()

    def admit(self, event: Event) -> bool:
        """Return True if the event is to be written; else count it."""
        has_network = self._rule.owner == "remote"
        remote = network_of(event.remote) if has_network else event.remote
        detail = tuple(event.detail.items()) if self._rule.is_exact else ()
        about = (event.subject, event.repository, event.owner)
        with self._lock:
            # The key that equal events share. It has more than three parts. Without room or
            # allowance, the event gets a key of its kind.
            key: tuple[object, ...]
            key = (event.kind, event.outcome, remote, event.actor, about, detail)
            if key not in self._folds:
                owner = remote if has_network else event.actor
                if len(self._folds) >= _FOLDS_MAX:
                    key = (event.kind, event.outcome)
                elif not self._spend(owner):
                    key = (event.kind, event.outcome, owner)
            fold = self._folds.get(key)
            if fold is not None:
                fold.count += 1
                return False
            self._folds[key] = _Fold(event, self._clock())
            return True

    def _spend(self, owner: str) -> bool:
        """Take one event from the owner's allowance. Return False if none is left."""
        burst, now = self._rule.burst, self._clock()
        found = self._allowances.get(owner)
        if found is None:
            if len(self._allowances) >= _FOLDS_MAX:
                return False
            found = self._allowances[owner] = _Allowance(burst, now)
        left = min(burst, found.left + (now - found.at) * _MORE_PER_SECOND)
        found.at, found.left = now, left - 1 if left >= 1 else left
        return left >= 1

    def settle(self, *, everything: bool = False) -> list[Event]:
        """End the folds whose minute is over, or all with `everything`. Return their counts as
        events.
        """
        now = self._clock()
        until = math.inf if everything else now - _FOLD_SECONDS
        with self._lock:
            # The dictionary has the folds in the order in which they began.
            begun = itertools.takewhile(lambda item: item[1].began <= until, self._folds.items())
            folds = list(begun)
            for key, _ in folds:
                del self._folds[key]
            if folds:
                # An allowance that is full again is equal to a new one.
                self._allowances = {
                    owner: one
                    for owner, one in self._allowances.items()
                    if one.left + (now - one.at) * _MORE_PER_SECOND < self._rule.burst
                }
        return [self._count_event(key, fold) for key, fold in folds if fold.count]

    def _count_event(self, key: tuple[object, ...], fold: _Fold) -> Event:
        """Return an event with the count of a fold, without fields that differed in the fold."""
        event = fold.event
        if len(key) > 3:  # a full key
            detail = {**event.detail, "again": fold.count}
            return msgspec.structs.replace(event, time=time.time(), detail=detail)
        owner = str(key[2]) if len(key) == 3 else ""
        return msgspec.structs.replace(
            event,
            time=time.time(),
            actor=owner if self._rule.owner == "actor" else "",
            remote=owner if self._rule.owner == "remote" else "",
            subject="",
            repository=0,
            owner=0,
            detail={"again": fold.count},
        )

"""Folding: events that repeat within a minute are one event and one count.

The first of equal events is written at once, and a count when its minute is over; so a process that
is killed loses counts at most. An address, or an actor, that does many different things is folded
by kind once its allowance is used up. Events of administrators are never folded.
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
# Folds, and owners of an allowance, of one share. Beyond it, events are folded by kind alone.
_FOLDS_MAX = 10_000
# With this many a minute, one caller takes days to fill its share of a log of the usual size.
_MORE_PER_SECOND = 10 / 60


@dataclass(frozen=True, slots=True)
class Rule:
    """The folding of a share: one `owner` may have `burst` different events in full, and 10 more a
    minute.

    `is_exact`: events are equal if their details are.
    """

    owner: Literal["actor", "remote"]
    burst: float
    is_exact: bool


# Pushes of different content are all in full: which digest came from where is what they are for.
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
    """Different events that an owner may still have in full, as of `at`."""

    left: float
    at: float


class Folder:
    """Decides which events of one share are written. `clock` never goes back."""

    def __init__(self, rule: Rule, clock: Callable[[], float]) -> None:
        self._rule = rule
        self._clock = clock
        self._folds: dict[tuple[object, ...], _Fold] = {}
        self._allowances: dict[str, _Allowance] = {}
        self._lock = threading.Lock()

    def admit(self, event: Event) -> bool:
        """Return True for an event to write; others are counted."""
        with self._lock:
            key = self._full_key(event)
            if key not in self._folds:
                key = self._key(event, key)
            fold = self._folds.get(key)
            if fold is not None:
                fold.count += 1
                return False
            self._folds[key] = _Fold(event, self._clock())
            return True

    def _full_key(self, event: Event) -> tuple[object, ...]:
        remote = network_of(event.remote) if self._rule.owner == "remote" else event.remote
        detail = tuple(event.detail.items()) if self._rule.is_exact else ()
        about = (event.subject, event.repository, event.owner)
        return (event.kind, event.outcome, remote, event.actor, about, detail)

    def _key(self, event: Event, full: tuple[object, ...]) -> tuple[object, ...]:
        """`full`, if the event's owner may have another event in full."""
        if len(self._folds) >= _FOLDS_MAX:
            return (event.kind, event.outcome)
        owner = network_of(event.remote) if self._rule.owner == "remote" else event.actor
        return full if self._spend(owner) else (event.kind, event.outcome, owner)

    def _spend(self, owner: str) -> bool:
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
        """Events for what was counted, once its minute is over."""
        now = self._clock()
        with self._lock:
            due = self._due(math.inf if everything else now - _FOLD_SECONDS)
            folds = [(key, self._folds.pop(key)) for key in due]
            if due:
                self._forget_unused(now)
        return [self._counted(key, fold) for key, fold in folds if fold.count]

    def _due(self, until: float) -> list[tuple[object, ...]]:
        """Keys of the folds that began until then: they stand in the order in which they began."""
        begun = itertools.takewhile(lambda item: item[1].began <= until, self._folds.items())
        return [key for key, _ in begun]

    def _forget_unused(self, now: float) -> None:
        """Drop allowances that are whole again."""
        burst = self._rule.burst
        kept = {
            owner: one
            for owner, one in self._allowances.items()
            if one.left + (now - one.at) * _MORE_PER_SECOND < burst
        }
        self._allowances = kept

    def _counted(self, key: tuple[object, ...], fold: _Fold) -> Event:
        """An event with the count of a fold; what differed between its events is left out."""
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

"""The base class of the use cases of `identity`: operations on accounts, for one caller."""

from __future__ import annotations

from collections.abc import Callable

from dtrfast.identity.caller_permits import CallerPermits
from dtrfast.index.engine import Engine
from dtrfast.registry.writing import Author


class UseCase:
    """A group of operations for one caller.

    Each operation checks the caller's permits in the transaction in which it reads or writes. It
    returns records of the domain. `now` gives seconds since the epoch.
    """

    def __init__(self, engine: Engine, permits: CallerPermits, now: Callable[[], int]) -> None:
        self._engine = engine
        self._permits = permits
        self._now = now

    def _author(self) -> Author:
        """Return the author of a change. Call it before the transaction: a change may run twice."""
        return Author(self._permits.actor, self._now())

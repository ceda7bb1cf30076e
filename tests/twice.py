"""Changes that run twice: a function given to `write` has no side effects outside its transaction.

An engine may run it again, as a database does that retries a transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import pytest

from dtrfast.index.engine import WriteTransaction
from dtrfast.index.lmdb import LmdbEngine


class _TakenBack(Exception):
    pass


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make LMDB run every change twice: it aborts the first run. The fake engine does the same."""
    monkeypatch.setattr(LmdbEngine, "write", _twice(LmdbEngine.write))


def _twice(write: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def write_twice(engine: Any, change: Callable[[WriteTransaction], Any]) -> Any:
        try:
            write(engine, _rehearsal(change))
        except _TakenBack:
            return write(engine, change)
        raise AssertionError("a change that raised was committed")

    return write_twice


def _rehearsal(change: Callable[[WriteTransaction], Any]) -> Callable[[WriteTransaction], Any]:
    def rehearsal(transaction: WriteTransaction) -> None:
        change(transaction)
        raise _TakenBack

    # Keep the name of the change: the scoped engines report it, and know `write_both` by it.
    named = change.func if isinstance(change, partial) else change
    return wraps(named)(rehearsal)

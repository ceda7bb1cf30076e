"""Changes that run twice: a function given to `write` has no side effects outside its transaction.

An engine may run it again, as a database does whose transaction has to be retried.
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
    """Have LMDB run every change once to be taken back, before it counts. The fake does too."""
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

    # With the name of the change: the scoped engines tell of it, and know `write_both` by it.
    named = change.func if isinstance(change, partial) else change
    return wraps(named)(rehearsal)

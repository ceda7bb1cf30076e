"""An engine that aborts every change, so that the same change can be measured again and again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

from dtrfast.index.engine import Engine, Figures, ReadTransaction, WriteTransaction

T = TypeVar("T")


class _Undo(Exception):
    """Aborts a transaction after its work. `result` is the result of the change."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


class Rehearsal:
    """An `Engine` over another one. While `forgets` is set, it runs changes and aborts them.

    It does everything but the commit, so measurements do not include the commit's cost.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.forgets = False

    @property
    def is_joint(self) -> bool:
        return self._engine.is_joint

    def read(self) -> AbstractContextManager[ReadTransaction]:
        return self._engine.read()

    def write(self, change: Callable[[WriteTransaction], T]) -> T:
        if not self.forgets:
            return self._engine.write(change)

        def rehearsed(transaction: WriteTransaction) -> T:
            raise _Undo(change(transaction))

        try:
            return self._engine.write(rehearsed)
        except _Undo as undo:
            return cast(T, undo.result)

    def write_both(
        self,
        local: Callable[[WriteTransaction], object],
        shared: Callable[[WriteTransaction], T],
    ) -> T:
        if not self.forgets:
            return self._engine.write_both(local, shared)

        def rehearsed(transaction: WriteTransaction) -> T:
            raise _Undo(shared(transaction))

        try:
            return self._engine.write_both(local, rehearsed)
        except _Undo as undo:
            return cast(T, undo.result)

    def tidy(self) -> None:
        self._engine.tidy()

    def figures(self) -> Figures:
        return self._engine.figures()

    def close(self) -> None:
        self._engine.close()

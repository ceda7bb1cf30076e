"""An engine over two LMDB environments, which cannot change local and shared tables in one commit.

`index/` has the local tables, `index/shared/` the shared ones. It stands for an index whose shared
half is a database of many machines. For threads and processes, as LMDB is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar

from dtrfast.index.engine import Engine, Figures, Table, WriteTransaction
from dtrfast.index.lmdb import LmdbEngine
from dtrfast.store.store import OpenIndex
from tests.scoped import ScopedTransaction, Violation

T = TypeVar("T")

Scope = Literal["local", "shared"]


class HalfEngine(LmdbEngine):
    """An engine that has the tables of one scope and no others."""

    is_joint = False  # type: ignore[misc]


class TwoEnvironments:
    """See `Engine`. A change is run in the environment of the first table that it touches; one that
    begins in the other is taken back and run again.
    """

    is_joint: Final = False

    def __init__(self, directory: Path, tables: Sequence[Table]) -> None:
        shared = directory / "shared"
        shared.mkdir(mode=0o700, exist_ok=True)
        self._engines: dict[Scope, LmdbEngine] = {
            "local": HalfEngine(directory, [t for t in tables if t.scope == "local"]),
            "shared": HalfEngine(shared, [t for t in tables if t.scope == "shared"]),
        }
        self._scopes: dict[object, Scope] = {}  # of functions that ran, by their code

    def half(self, scope: Scope) -> Engine:
        """The engine of one scope, for a part that is to find no other tables."""
        return self._engines[scope]

    def read(self) -> _Snapshot:
        return _Snapshot(self._engines)

    def write(self, change: Callable[[WriteTransaction], T]) -> T:
        function = _function(change)
        code = getattr(function, "__code__", type(function))
        try:
            return self._write(change, function, self._scopes.get(code, "shared"))
        except _OtherScope as other:
            scope = self._scopes[code] = other.scope
        return self._write(change, function, scope)

    def _write(self, change: Callable[[WriteTransaction], T], function: Any, scope: Scope) -> T:
        def run(transaction: WriteTransaction) -> T:
            half: Any = _Half(transaction, scope)
            return change(half)

        # `tests.scoped` names the change that breaks a rule.
        update_wrapper(run, function, assigned=("__module__", "__qualname__"), updated=())
        return self._engines[scope].write(run)

    def write_both(
        self,
        local: Callable[[WriteTransaction], object],
        shared: Callable[[WriteTransaction], T],
    ) -> T:
        raise NotImplementedError("this engine is not joint")

    def tidy(self) -> None:
        for engine in self._engines.values():
            engine.tidy()

    def figures(self) -> Figures:
        local, shared = (engine.figures() for engine in self._engines.values())
        return Figures(
            local.size_bytes + shared.size_bytes,
            local.commits + shared.commits,
            local.changes + shared.changes,
            local.commit_seconds + shared.commit_seconds,
        )

    def close(self) -> None:
        for engine in self._engines.values():
            engine.close()


# What opens an index, by a name for the ids of tests and for programs that a test starts.
ENGINES: dict[str, OpenIndex] = {"one": LmdbEngine, "two": TwoEnvironments}


class _OtherScope(BaseException):
    """A change begins with a table of this scope. No change may catch it."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        self.scope = scope


class _Half(ScopedTransaction):
    """A transaction in one environment."""

    def __init__(self, inner: WriteTransaction, scope: Scope) -> None:
        super().__init__(inner, "")
        self._scope = scope
        self._is_touched = False

    def _on(self, table: Table) -> Any:
        if table.scope != self._scope:
            if self._is_touched:
                raise Violation(f"tables of both scopes: {table.name}")
            raise _OtherScope(table.scope)
        self._is_touched = True
        return self._inner


class _Snapshot(ScopedTransaction):
    """A snapshot of the environment that the first table is in, taken when that is looked at."""

    def __init__(self, engines: dict[Scope, LmdbEngine]) -> None:
        super().__init__(None, "")
        self._engines = engines
        self._manager: Any = None
        self._is_ended = False

    def _on(self, table: Table) -> Any:
        if self._is_ended:
            raise Violation("a snapshot was used after its end")
        if self._scope is None:
            self._scope = table.scope
            self._manager = self._engines[table.scope].read()
            self._inner = self._manager.__enter__()
        elif self._scope != table.scope:
            raise Violation(f"tables of both scopes: {table.name}")
        return self._inner

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_ended = True
        if self._manager is not None:
            self._manager.__exit__(kind, error, trace)


def _function(change: Any) -> Any:
    """The function that a change runs."""
    while isinstance(change, partial):
        change = change.func
    return change

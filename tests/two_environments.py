"""An engine over two LMDB environments, which cannot change local and shared tables in one commit.

`index/` has the local tables, `index/shared/` the shared ones. It stands for an index whose shared
half is a database for many machines. Like LMDB, it is safe for threads and processes.
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
    """An engine with the tables of one scope only."""

    is_joint = False  # type: ignore[misc]


class TwoEnvironments:
    """An `Engine` over two environments.

    A change runs in the environment of the first table that it uses. The engine guesses the scope;
    after a wrong guess it aborts the change and runs it again in the other environment.
    """

    is_joint: Final = False

    def __init__(self, directory: Path, tables: Sequence[Table]) -> None:
        shared = directory / "shared"
        shared.mkdir(mode=0o700, exist_ok=True)
        self._engines: dict[Scope, LmdbEngine] = {
            "local": HalfEngine(directory, [t for t in tables if t.scope == "local"]),
            "shared": HalfEngine(shared, [t for t in tables if t.scope == "shared"]),
        }
        self._scopes: dict[object, Scope] = {}  # the scopes of functions that ran, by their code

    def half(self, scope: Scope) -> Engine:
        """Return the engine of one scope, for a part that must not see the other tables."""
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


# Functions that open an index. Their names are for the ids of tests and for programs that tests
# start.
ENGINES: dict[str, OpenIndex] = {"one": LmdbEngine, "two": TwoEnvironments}


class _OtherScope(BaseException):
    """Raised when a change begins with a table of this scope. No change may catch it."""

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
    """A snapshot of the environment of the first table that is read, taken at that read."""

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
    """Return the innermost function that a change runs."""
    while isinstance(change, partial):
        change = change.func
    return change

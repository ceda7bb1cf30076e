"""The rules of the seams, applied to every engine and every reader of a test run.

A function given to `write`, or a snapshot, uses tables of one scope only. A thread with an open
transaction opens no other one. Inside a transaction the thread reads no bytes of a blob or of any
other file. It takes no claim either, because the claim's holder may wait for the index. A broken
rule raises a `Violation`. It names the function that was given to `write` or that opened the
snapshot. The list `broken` records it too, because a program may go on after any exception, as the
housekeeper does.

`install` affects this process only.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial, wraps
from types import CodeType, TracebackType
from typing import Any, TypeVar

from dtrfast.index.engine import ReadTransaction, Table, WriteTransaction
from dtrfast.index.lmdb import LmdbEngine
from dtrfast.machine import disk
from dtrfast.store.claims import ContentClaim
from dtrfast.store.local_reader import LocalReader
from tests.fakes.blobs import WholeReader
from tests.fakes.engine import MemoryEngine

T = TypeVar("T")

broken: list[str] = []  # in this process, since a test cleared the list

_open = threading.local()
_is_installed = False


class Violation(AssertionError):
    """A rule of a seam was broken."""


def install() -> None:
    """Hold this process to the rules. Idempotent."""
    global _is_installed
    if _is_installed:
        return
    _is_installed = True
    for engine in (LmdbEngine, MemoryEngine):
        engine.read = _read(engine.read)  # type: ignore[method-assign]
        engine.write = _write(engine.write)  # type: ignore[method-assign]
        engine.write_both = _write_both(engine.write_both)  # type: ignore[method-assign]
    for reader in (LocalReader, WholeReader):
        reader.__iter__ = _iterate(reader.__iter__)  # type: ignore[method-assign]
    for name in ("read_at", "read_into"):
        setattr(disk, name, _outside(getattr(disk, name), "bytes of a file"))
    ContentClaim._lock = _outside(ContentClaim._lock, "a claim")  # type: ignore[method-assign]


def _break(rule: str, name: str) -> None:
    broken.append(f"{rule}: {name}")
    raise Violation(broken[-1])


def open_names() -> list[str]:
    """The names of the transactions that are open in this thread, outermost first."""
    return list(_names())


def _names() -> list[str]:
    names: list[str] | None = getattr(_open, "names", None)
    if names is None:
        names = _open.names = []
    return names


def _name_of(function: Any) -> str:
    while isinstance(function, partial):
        function = function.func
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', '?')}"


def _caller() -> str:
    """Return the name of the running function outside of this file."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename == __file__:
        assert frame.f_back is not None
        frame = frame.f_back
    code: CodeType = frame.f_code
    return f"{frame.f_globals.get('__name__', '?')}.{getattr(code, 'co_qualname', code.co_name)}"


class ScopedTransaction:
    """A transaction that checks each table's scope and passes every call on."""

    def __init__(self, inner: Any, name: str) -> None:
        self._inner = inner
        self._name = name
        self._scope: str | None = None

    def _on(self, table: Table) -> Any:
        if self._scope not in (None, table.scope):
            _break("tables of both scopes", self._name)
        self._scope = table.scope
        return self._inner

    def get(self, table: Table, key: bytes) -> bytes | None:
        value: bytes | None = self._on(table).get(table, key)
        return value

    def scan(self, table: Table, *arguments: Any, **options: Any) -> Iterator[tuple[bytes, bytes]]:
        rows: Iterator[tuple[bytes, bytes]] = self._on(table).scan(table, *arguments, **options)
        return rows

    def get_many(self, table: Table, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        rows: dict[bytes, bytes] = self._on(table).get_many(table, keys)
        return rows

    def begun(self, table: Table, prefixes: Sequence[bytes]) -> list[bool]:
        found: list[bool] = self._on(table).begun(table, prefixes)
        return found

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        self._on(table).put(table, key, value)

    def delete(self, table: Table, key: bytes) -> None:
        self._on(table).delete(table, key)

    def pop(self, table: Table, key: bytes) -> bytes | None:
        value: bytes | None = self._on(table).pop(table, key)
        return value

    def take(self, table: Table, name: bytes, count: int = 1) -> int:
        first: int = self._on(table).take(table, name, count)
        return first

    def add(self, table: Table, name: bytes, differences: Sequence[int]) -> None:
        self._on(table).add(table, name, differences)

    def put_all(self, table: Table, rows: Iterable[tuple[bytes, bytes]]) -> None:
        self._on(table).put_all(table, rows)

    def delete_all(self, table: Table, keys: Sequence[bytes]) -> None:
        self._on(table).delete_all(table, keys)


class _ScopedSnapshot:
    """The context manager that a scoped `read` returns."""

    def __init__(self, inner: Any, name: str) -> None:
        self._inner = inner
        self._name = name

    def __enter__(self) -> ReadTransaction:
        if _names():
            _break("a snapshot inside a transaction", f"{self._name} in {_names()[-1]}")
        transaction = self._inner.__enter__()
        _names().append(self._name)
        return ScopedTransaction(transaction, self._name)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Any:
        _names().pop()
        return self._inner.__exit__(kind, error, trace)


def _read(read: Callable[[Any], Any]) -> Any:
    @wraps(read)
    def scoped(engine: Any) -> _ScopedSnapshot:
        return _ScopedSnapshot(read(engine), _caller())

    return scoped


def _scoped_change(change: Callable[[WriteTransaction], T]) -> Callable[[WriteTransaction], T]:
    """Return the change with scope checks, for any engine that runs it."""
    name = _name_of(change)

    def scoped(transaction: WriteTransaction) -> T:
        _names().append(name)
        try:
            return change(ScopedTransaction(transaction, name))
        finally:
            _names().pop()

    return scoped


def _check_outside(name: str) -> None:
    if _names():
        _break("a change inside a transaction", f"{name} in {_names()[-1]}")


def _write(write: Callable[[Any, Any], Any]) -> Any:
    @wraps(write)
    def scoped(engine: Any, change: Callable[[WriteTransaction], T]) -> T:
        if getattr(change, "__qualname__", "").endswith("write_both.<locals>.both"):
            scoped_change = change  # its halves are scoped already
        else:
            _check_outside(_name_of(change))
            scoped_change = _scoped_change(change)
        result: T = write(engine, scoped_change)
        return result

    return scoped


def _write_both(write_both: Callable[[Any, Any, Any], Any]) -> Any:
    @wraps(write_both)
    def scoped(
        engine: Any,
        local: Callable[[WriteTransaction], object],
        shared: Callable[[WriteTransaction], T],
    ) -> T:
        _check_outside(_name_of(shared))
        result: T = write_both(engine, _scoped_half(local, "local"), _scoped_half(shared, "shared"))
        return result

    return scoped


def _scoped_half(change: Callable[[WriteTransaction], T], scope: str) -> Callable[[Any], T]:
    name = _name_of(change)

    def scoped(transaction: Any) -> T:
        _names().append(name)
        try:
            half = ScopedTransaction(transaction, name)
            half._scope = scope
            return change(half)
        finally:
            _names().pop()

    return scoped


def _outside(function: Callable[..., Any], thing: str) -> Any:
    """Return the function with a check that no transaction is open when it is called."""

    @wraps(function)
    def scoped(*arguments: Any, **options: Any) -> Any:
        if _names():
            _break(f"{thing} inside a transaction", _names()[-1])
        return function(*arguments, **options)

    return scoped


def _iterate(iterate: Callable[[Any], Any]) -> Any:
    @wraps(iterate)
    def scoped(reader: Any) -> Iterator[Any]:
        _check_bytes()
        for segment in iterate(reader):
            yield segment
            _check_bytes()

    return scoped


def _check_bytes() -> None:
    if _names():
        _break("bytes of a blob inside a transaction", _names()[-1])

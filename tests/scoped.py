"""An engine that holds its callers to the rules of the seams, whatever it is over.

A violation is noted by the name of what broke the rule: the function given to `write`, or the one
that opened the snapshot. `violations` are of this process, in the order in which they were met.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

from dtrfast.index.engine import Table

T = TypeVar("T")

_open = threading.local()


class Violation(AssertionError):
    """A rule of a seam was broken."""


def _note(what: str, name: str) -> None:
    raise Violation(f"{what} {name}")


def snapshot_name() -> str | None:
    """The name of the transaction that is open in this thread."""
    stack = getattr(_open, "stack", [])
    return stack[-1].name if stack else None


def name_of(function: Any) -> str:
    while isinstance(function, partial):
        function = function.func
    module = getattr(function, "__module__", "?")
    return f"{module}.{getattr(function, '__qualname__', '?')}"


def _caller() -> str:
    """The function outside of this file, and of contextlib, that is running."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename in (__file__, _CONTEXTLIB):
        assert frame.f_back is not None
        frame = frame.f_back
    return f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}"


_CONTEXTLIB = AbstractContextManager.__module__


class ScopedTransaction:
    """Passes everything on, and looks at the tables."""

    def __init__(self, inner: Any, name: str, kind: str) -> None:
        self._inner = inner
        self.name = name
        self._kind = kind
        self._scope = ""

    def _see(self, table: Table) -> None:
        if self._scope not in ("", table.scope):
            _note(self._kind, self.name)
        self._scope = table.scope

    def get(self, table: Table, key: bytes) -> bytes | None:
        self._see(table)
        return self._inner.get(table, key)

    def scan(self, table: Table, *args: Any, **options: Any) -> Iterator[tuple[bytes, bytes]]:
        self._see(table)
        return self._inner.scan(table, *args, **options)

    def get_all(self, table: Table, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        self._see(table)
        return self._inner.get_all(table, keys)

    def begun(self, table: Table, prefixes: Sequence[bytes]) -> list[bool]:
        self._see(table)
        return self._inner.begun(table, prefixes)

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        self._see(table)
        self._inner.put(table, key, value)

    def delete(self, table: Table, key: bytes) -> bool:
        self._see(table)
        return self._inner.delete(table, key)

    def put_all(self, table: Table, rows: Iterable[tuple[bytes, bytes]]) -> None:
        self._see(table)
        self._inner.put_all(table, rows)

    def delete_all(self, table: Table, keys: Sequence[bytes]) -> None:
        self._see(table)
        self._inner.delete_all(table, keys)

"""Stops a thread before each step of an operation, so that a test can run other code between steps.

A step is a read or a write of the index, a claim that is taken or given up, or a removal of a file.
A thread that must wait for a claim reports it to the test instead of waiting in the kernel.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

import lmdb
import pytest

from dtrfast.index.lmdb import LmdbEngine
from dtrfast.machine import disk
from dtrfast.store import unowned
from dtrfast.store.claims import ContentClaim
from dtrfast.store.ids import Ids
from dtrfast.store.space import Space

_Method = Callable[..., Any]


def skip_syncs(patch: pytest.MonkeyPatch) -> None:
    """Skip all syncs, for tests without a power cut. A sync takes longer than all the rest."""
    open_synced: Any = lmdb.open

    def open_fast(*arguments: Any, **options: Any) -> Any:
        return open_synced(*arguments, **options, sync=False)

    patch.setattr(lmdb, "open", open_fast)
    patch.setattr(os, "fsync", lambda descriptor: None)


class Steps:
    """The steps of watched threads. One store at a time."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._watched = threading.local()
        self._changed = threading.Condition()
        self._is_parked = False
        self._has_ended = False
        for owner, name in (
            (LmdbEngine, "read"),
            (LmdbEngine, "write"),
            (ContentClaim, "close"),
            (disk, "remove"),
            (unowned, "_unlink"),
        ):
            patch.setattr(owner, name, self._stopping(getattr(owner, name)))
        for locked, name in ((Ids, "take"), (Space, "check")):
            patch.setattr(locked, name, self._unwatched(getattr(locked, name)))
        self._lock_of_claim = ContentClaim._lock
        patch.setattr(ContentClaim, "_lock", self._claiming())
        patch.setattr(ContentClaim, "close", self._kicking(ContentClaim.close))

    def run(self, operation: Callable[[], object], stop: Callable[[], object]) -> None:
        """Run `operation`, and `stop` before each of its steps and at its end."""
        self._watched.stop = stop
        try:
            operation()
            stop()
        finally:
            self._watched.stop = None

    def beside(self, operation: Callable[[], object]) -> threading.Thread:
        """Run `operation` in another thread until it has ended, or waits for a claim."""
        self._is_parked = self._has_ended = False

        def work() -> None:
            try:
                operation()
            finally:
                with self._changed:
                    self._has_ended = True
                    self._changed.notify_all()

        thread = threading.Thread(target=work)
        thread.start()
        self._wait_until_still()
        return thread

    def _wait_until_still(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._is_parked or self._has_ended, timeout=30)

    def _step(self) -> None:
        stop = getattr(self._watched, "stop", None)
        if stop is not None:
            self._watched.stop = None
            stop()
            self._watched.stop = stop

    def _stopping(self, method: _Method) -> _Method:
        @wraps(method)
        def stopping(*arguments: Any, **options: Any) -> Any:
            self._step()
            return method(*arguments, **options)

        return stopping

    def _unwatched(self, method: _Method) -> _Method:
        """Do not stop inside `method`: it has a lock for which another thread would wait."""

        @wraps(method)
        def unwatched(*arguments: Any, **options: Any) -> Any:
            stop, self._watched.stop = getattr(self._watched, "stop", None), None
            try:
                return method(*arguments, **options)
            finally:
                self._watched.stop = stop

        return unwatched

    def _claiming(self) -> _Method:
        def lock(claim: ContentClaim, command: int, kind: int, *arguments: Any) -> None:
            self._step()
            self._try(claim, command, kind, *arguments)
            if kind != fcntl.F_WRLCK:
                self._kick()

        return lock

    def _try(self, claim: ContentClaim, command: int, *arguments: Any) -> None:
        while True:
            try:
                return self._lock_of_claim(claim, fcntl.F_OFD_SETLK, *arguments)
            except BlockingIOError:
                if command != fcntl.F_OFD_SETLKW:
                    raise
            self._park()

    def _park(self) -> None:
        """Wait until another thread gives a claim up."""
        with self._changed:
            self._is_parked = True
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: not self._is_parked, timeout=30), "for ever"

    def _kicking(self, method: _Method) -> _Method:
        @wraps(method)
        def kicking(*arguments: Any) -> Any:
            result = method(*arguments)
            self._kick()
            return result

        return kicking

    def _kick(self) -> None:
        """Let the thread that waits for a claim try again, because one was given up."""
        with self._changed:
            if not self._is_parked:
                return
            self._is_parked = False
            self._changed.notify_all()
        self._wait_until_still()

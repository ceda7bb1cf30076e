"""The only place of thread hops, back-pressure and cancellation.

Everything below `api` blocks. A request passes such a call to `Threads.run`, which gives three
promises:

- An accepted call runs, and its caller resumes only after it has returned. So no caller releases
  an upload, a buffer or a file while a thread still uses it.
- Cancellation never gets lost, and it never loses a result. The caller gets the call's outcome, so
  an opened file or a held upload reaches the code that closes it. The cancellation is raised at the
  caller's next `await`.
- Only the first call of a request can be refused (`ServerBusy`). Later calls, such as appending to
  an upload or releasing it, must not fail because other requests wait.

This pool exists because `concurrent.futures` takes two locks and a condition for each call. All
state but the queue belongs to the event loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar, cast

from dtrfast.errors import ServerBusy

T = TypeVar("T")

_admitted: ContextVar[bool] = ContextVar("dtrfast_admitted", default=False)


@dataclass(frozen=True, slots=True)
class ThreadsStatistics:
    """The state of a pool. `limit` and `started` count threads, the others calls.

    `done` and `refused` count since the start.
    """

    limit: int
    started: int
    running: int
    waiting: int
    done: int
    refused: int


class Threads:
    """A pool of at most `limit` threads for one event loop.

    At most `waiting_max` new requests wait for a thread.
    """

    def __init__(self, limit: int, waiting_max: int) -> None:
        assert limit > 0
        self._limit = limit
        self._waiting_max = waiting_max
        self._queue: SimpleQueue[_Call[object] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._unfinished = 0
        self._done = 0
        self._refused = 0

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Call `function` on a thread. Raises `ServerBusy`, or what `function` raises."""
        if not _admitted.get():
            if self._unfinished >= self._limit + self._waiting_max:
                self._refused += 1
                raise ServerBusy("too many requests are waiting: try again in a moment")
            _admitted.set(True)
        call = _Call(function, args, asyncio.get_running_loop(), self._finished)
        self._unfinished += 1
        if len(self._threads) < min(self._unfinished, self._limit):
            name = f"dtrfast-{len(self._threads)}"
            thread = threading.Thread(target=_work, args=(self._queue,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._queue.put(cast("_Call[object]", call))
        await call.wait()
        return call.outcome()

    def statistics(self) -> ThreadsStatistics:
        started = len(self._threads)
        running = min(self._unfinished, started)
        return ThreadsStatistics(
            limit=self._limit,
            started=started,
            running=running,
            waiting=self._unfinished - running,
            done=self._done,
            refused=self._refused,
        )

    def close(self) -> None:
        """Wait for the running calls, and end the threads. Do not call `run` afterwards."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _finished(self) -> None:
        self._unfinished -= 1
        self._done += 1


class _Call(Generic[T]):
    """One call on its way to a thread and back."""

    __slots__ = (
        "_args",
        "_error",
        "_finished",
        "_function",
        "_loop",
        "_result",
        "_returned",
        "_waiter",
    )

    def __init__(
        self,
        function: Callable[..., T],
        args: tuple[object, ...],
        loop: asyncio.AbstractEventLoop,
        finished: Callable[[], None],
    ) -> None:
        self._function = function
        self._args = args
        self._loop = loop
        self._finished = finished
        self._waiter: asyncio.Future[None] = loop.create_future()
        self._returned = False
        self._result: T | None = None
        self._error: BaseException | None = None

    def work(self) -> None:
        """Call the function. The thread calls this."""
        try:
            self._result = self._function(*self._args)
        except BaseException as error:
            self._error = error
        with contextlib.suppress(RuntimeError):  # the loop was closed, so no caller waits
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._returned = True
        self._finished()
        if not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Wait until the thread has returned. Raise a cancellation at the caller's next await."""
        is_canceled = False
        while True:
            try:
                await self._waiter
            except asyncio.CancelledError:
                is_canceled = True
                if not self._returned:
                    self._waiter = self._loop.create_future()
                    continue
            break
        task = asyncio.current_task()
        if is_canceled and task is not None:
            task.uncancel()
            task.cancel()

    def outcome(self) -> T:
        error, self._error = self._error, None
        if error is None:
            return cast(T, self._result)
        try:
            raise error
        finally:
            del error  # the traceback refers to this frame, which would make a reference cycle


def _work(queue: SimpleQueue[_Call[object] | None]) -> None:
    while (call := queue.get()) is not None:
        call.work()
        del call  # keep no arguments alive while the thread waits for the next call

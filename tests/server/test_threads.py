from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator

import pytest

from dtrfast.errors import BlobUnknown, ServerBusy
from dtrfast.server.threads import Threads

_DEADLINE_SECONDS = 10


class Gate:
    """A call that blocks its thread until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.left = False

    def pass_through(self) -> str:
        self.entered.set()
        assert self.opened.wait(_DEADLINE_SECONDS)
        self.left = True
        return "through"


@pytest.fixture
def threads() -> Iterator[Threads]:
    pool = Threads(limit=2, waiting_max=1)
    yield pool
    pool.close()


def run(main: Coroutine[object, object, None]) -> None:
    asyncio.run(asyncio.wait_for(main, _DEADLINE_SECONDS))


async def entered(gate: Gate) -> None:
    await asyncio.to_thread(gate.entered.wait, _DEADLINE_SECONDS)


def test_a_result_comes_back(threads: Threads) -> None:
    async def main() -> None:
        assert await threads.run(divmod, 7, 2) == (3, 1)
        assert await threads.run(threading.get_ident) != threading.get_ident()

    run(main())


def test_an_error_comes_back(threads: Threads) -> None:
    def fail() -> None:
        raise BlobUnknown("no such blob")

    async def main() -> None:
        with pytest.raises(BlobUnknown, match="no such blob"):
            await threads.run(fail)

    run(main())


def test_the_end_of_an_iterator_does_not_hang(threads: Threads) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError):
            await threads.run(next, iter(()))

    run(main())


def test_a_cancelled_caller_waits_for_its_thread_and_gets_the_result(threads: Threads) -> None:
    gate = Gate()
    results: list[str] = []

    async def caller() -> None:
        results.append(await threads.run(gate.pass_through))
        await asyncio.sleep(0)
        results.append("went on")

    async def main() -> None:
        task = asyncio.create_task(caller())
        await entered(gate)
        for _ in range(3):
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=0.01)
            assert not done
        gate.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert gate.left
    assert results == ["through"]


def test_clean_up_after_a_cancellation_runs(threads: Threads) -> None:
    """A second call closes what the first one opened, although the caller was canceled between."""
    gate = Gate()
    closed: list[str] = []

    async def caller() -> None:
        opened = await threads.run(gate.pass_through)
        try:
            await asyncio.sleep(_DEADLINE_SECONDS)
        finally:
            await threads.run(closed.append, opened)

    async def main() -> None:
        task = asyncio.create_task(caller())
        await entered(gate)
        task.cancel()
        gate.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert closed == ["through"]


def occupy(threads: Threads, gates: list[Gate]) -> Callable[[], Coroutine[None, None, None]]:
    """Fill the threads and the queue; return a function that releases them and waits for them."""
    tasks = [asyncio.create_task(threads.run(gate.pass_through)) for gate in gates]

    async def release() -> None:
        for gate in gates:
            gate.opened.set()
        await asyncio.gather(*tasks)

    return release


def test_too_many_requests_are_refused(threads: Threads) -> None:
    async def request() -> None:
        with pytest.raises(ServerBusy):
            await threads.run(str)

    async def main() -> None:
        gates = [Gate(), Gate(), Gate()]
        release = occupy(threads, gates)
        await entered(gates[0])
        await asyncio.create_task(request())
        statistics = threads.statistics()
        assert (statistics.running, statistics.waiting, statistics.refused) == (2, 1, 1)
        await release()
        assert threads.statistics().done == 3
        await asyncio.create_task(threads.run(str))

    run(main())


def test_a_request_that_was_admitted_is_never_refused(threads: Threads) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def request() -> str:
        await threads.run(str)
        started.set()
        await go_on.wait()
        return await threads.run(str, 5)

    async def main() -> None:
        admitted = asyncio.create_task(request())
        await started.wait()
        gates = [Gate(), Gate(), Gate()]
        release = occupy(threads, gates)
        await entered(gates[0])
        go_on.set()
        await asyncio.sleep(0)  # the request makes its second call
        assert threads.statistics().waiting == 2
        await release()
        assert await admitted == "5"

    run(main())


def test_no_more_threads_than_needed_are_started() -> None:
    async def main() -> None:
        pool = Threads(limit=40, waiting_max=0)
        for _ in range(100):
            await pool.run(str)
        assert pool.statistics().started == 1
        pool.close()

    run(main())

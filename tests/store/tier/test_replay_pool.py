"""Segments are re-created by few threads, in order, once for all readers."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from dtrfast.errors import Corrupt, ServerBusy
from dtrfast.store.store import Store
from dtrfast.store.tier import encoding, replay_pool
from dtrfast.store.tier.replay_pool import ReplayPool
from tests.store.conftest import pull, push
from tests.store.tier.layers import convert, evict, layer


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayPool]:
    """A pool with one thread."""
    monkeypatch.setattr("dtrfast.machine.limits.count_cores", lambda: 1)
    pool = ReplayPool()
    yield pool
    pool.close()


class Gate:
    """Work that waits until the test opens it, and counts its runs."""

    def __init__(self) -> None:
        self.open, self.began = threading.Event(), threading.Event()
        self.runs = 0

    def __call__(self) -> bytes:
        self.runs += 1
        self.began.set()
        assert self.open.wait(10)
        return b"done"


def test_readers_share_a_job(pool: ReplayPool) -> None:
    gate = Gate()
    jobs = [pool.request("segment", gate) for _ in range(3)]
    assert len(set(jobs)) == 1
    gate.open.set()
    assert [job.wait() for job in jobs] == [b"done"] * 3
    for job in jobs:
        pool.drop(job)
    again = pool.request("segment", gate)
    assert again is jobs[0], "it is kept for a moment"
    assert again.wait() == b"done"
    assert gate.runs == 1
    pool.drop(again)


def test_jobs_run_in_the_order_of_requests(pool: ReplayPool) -> None:
    gate = Gate()
    order: list[int] = []
    first = pool.request("gate", gate)
    assert gate.began.wait(10)

    def note(number: int) -> bytes:
        order.append(number)
        return bytes([number])

    jobs = [pool.request(number, partial(note, number)) for number in range(5)]
    gate.open.set()
    assert [job.wait() for job in jobs] == [bytes([number]) for number in range(5)]
    assert order == [0, 1, 2, 3, 4]
    for job in (first, *jobs):
        pool.drop(job)


def test_a_job_that_no_reader_wants_is_not_run(pool: ReplayPool) -> None:
    gate, unwanted = Gate(), Gate()
    unwanted.open.set()
    first = pool.request("gate", gate)
    assert gate.began.wait(10)
    pool.drop(pool.request("unwanted", unwanted))
    gate.open.set()
    last = pool.request("last", lambda: b"last")
    assert (first.wait(), last.wait()) == (b"done", b"last")
    assert unwanted.runs == 0
    wanted_again = pool.request("unwanted", unwanted)
    assert wanted_again.wait() == b"done"
    for job in (first, last, wanted_again):
        pool.drop(job)


def test_a_job_that_failed_is_tried_again(pool: ReplayPool) -> None:
    def fail() -> bytes:
        raise Corrupt("a test")

    job = pool.request("segment", fail)
    for _ in range(2):
        with pytest.raises(Corrupt, match="a test"):
            job.wait()
    again = pool.request("segment", lambda: b"fine")
    assert again.wait() == b"fine"
    pool.drop(job)
    pool.drop(again)
    assert pool.request("segment", lambda: b"other") is again
    pool.drop(again)


def test_finished_segments_are_kept_up_to_a_bound(
    pool: ReplayPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_pool, "_KEPT_BYTES_MAX", 2500)
    for number in range(5):
        job = pool.request(number, lambda: bytes(1000))
        job.wait()
        pool.drop(job)
    assert list(pool._jobs) == [3, 4]
    held = [pool.request(number, lambda: bytes(1000)) for number in range(6)]
    assert len(pool._jobs) == 6, "readers keep theirs"
    for job in held:
        job.wait()
        pool.drop(job)
    assert len(pool._jobs) == 2


def test_an_expected_job_is_run_and_kept_for_its_reader(
    pool: ReplayPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_pool, "_KEPT_BYTES_MAX", 2500)
    monkeypatch.setattr(replay_pool, "_EXPECTED_BYTES", 1000)
    runs: list[int] = []

    def work(number: int) -> bytes:
        runs.append(number)
        return bytes(1000)

    assert [pool.expect(number, partial(work, number)) for number in range(3)] == [1, 1, 0]
    for number in range(10, 13):
        other = pool.request(number, partial(work, number))
        other.wait()
        pool.drop(other)
    jobs = [pool.request(number, partial(work, number)) for number in range(2)]
    assert [job.wait() for job in jobs] == [bytes(1000)] * 2
    assert runs == [0, 1, 10, 11, 12], "the others went, and not those that are expected"
    for number, job in enumerate(jobs):
        pool.expect_no_more(number)
        pool.drop(job)
    assert pool.expect(2, partial(work, 2))
    pool.expect_no_more(2)


def test_a_reader_that_does_not_come_loses_what_it_expects(
    pool: ReplayPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pool.expect("segment", lambda: bytes(1000))
    job = pool.request("segment", bytes)
    job.wait()
    pool.drop(job)
    assert list(pool._jobs) == ["segment"]
    monkeypatch.setattr(replay_pool, "_KEPT_SECONDS", 0.01)
    other = pool.request("other", lambda: b"")  # wakes the thread, which waits for shorter now
    other.wait()
    pool.drop(other)
    deadline = time.monotonic() + 10
    while pool._jobs and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not pool._jobs, "the thread forgets what is old"
    pool.expect_no_more("segment")


def test_a_finished_job_does_not_keep_what_its_work_refers_to(pool: ReplayPool) -> None:
    class Chunks:
        """Bytes of a reader."""

    chunks = Chunks()
    gone = weakref.ref(chunks)
    job = pool.request("segment", partial(lambda _: b"done", chunks))
    assert job.wait() == b"done"
    del chunks
    pool.drop(job)
    assert gone() is None
    assert list(pool._jobs) == ["segment"]


def test_nothing_is_expected_while_others_wait(pool: ReplayPool) -> None:
    gate = Gate()
    jobs = [pool.request("gate", gate)]
    assert gate.began.wait(10)
    jobs += [pool.request(number, gate) for number in range(2)]
    assert not pool.expect("more", gate)
    assert pool.expect(1, gate), "what another reader needs costs nothing"
    gate.open.set()
    pool.expect_no_more(1)
    for job in jobs:
        job.wait()
        pool.drop(job)


def test_an_expectation_that_ends_is_not_run(pool: ReplayPool) -> None:
    gate, unwanted = Gate(), Gate()
    first = pool.request("gate", gate)
    assert gate.began.wait(10)
    assert pool.expect("unwanted", unwanted)
    pool.expect_no_more("unwanted")
    gate.open.set()
    last = pool.request("last", lambda: b"last")
    assert last.wait() == b"last"
    assert unwanted.runs == 0
    pool.drop(first)
    pool.drop(last)


def test_a_wait_may_end_before_the_job(pool: ReplayPool) -> None:
    gate = Gate()
    job = pool.request("gate", gate)
    assert job.wait(0.01) is None
    gate.open.set()
    assert job.wait(10) == b"done"
    pool.drop(job)


def test_readers_are_refused_while_too_many_segments_are_needed(
    pool: ReplayPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_pool, "_WAITING_MAX", 2)
    gate = Gate()
    jobs = [pool.request("gate", gate)]
    assert gate.began.wait(10)
    pool.enter()
    jobs += [pool.request(number, gate) for number in range(2)]
    with pytest.raises(ServerBusy) as refused:
        pool.enter()
    assert refused.value.retry_seconds == 1
    pool.enter(continues=True)
    pool.leave()
    gate.open.set()
    for job in jobs:
        job.wait()
        pool.drop(job)
    pool.enter()
    pool.leave()
    pool.leave()


def test_open_readers_have_a_bound(pool: ReplayPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_pool, "_READERS_MAX", 1)
    pool.enter()
    with pytest.raises(ServerBusy):
        pool.enter()
    pool.leave()
    pool.enter()
    pool.leave()


def test_threads_end_when_a_pool_is_closed() -> None:
    pool = ReplayPool()
    jobs = [pool.request(number, lambda: b"x") for number in range(8)]
    assert [job.wait() for job in jobs] == [b"x"] * 8
    assert 0 < len(pool._threads) <= pool.ahead
    pool.close()
    assert not any(thread.is_alive() for thread in pool._threads)
    ReplayPool().close()


# ---- a store -------------------------------------------------------------------------------------
@pytest.fixture
def evicted(store: Store) -> Store:
    push(store.blobs, layer())
    convert(store)
    evict(store)
    return store


def test_readers_of_one_layer_share_its_segments(
    evicted: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = evicted
    digest = push(store.blobs, layer())
    runs: list[int] = []
    encode = encoding.encode_segment

    def counted(*arguments: object) -> bytes:
        runs.append(1)
        return encode(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(encoding, "encode_segment", counted)
    assert pull(store.blobs, digest) == layer()
    once = len(runs)
    assert once > 3
    with ThreadPoolExecutor(4) as threads:
        pulled = list(threads.map(lambda _: pull(store.blobs, digest), range(8)))
    assert pulled == [layer()] * 8
    assert len(runs) == once
    assert store._context.replay_pool._readers == 0


def test_readers_that_close_early_leave_nothing(evicted: Store) -> None:
    store = evicted
    digest = push(store.blobs, layer())
    pool = store._context.replay_pool
    for count in range(4):
        reader = store.blobs.open_range(digest)
        pieces = iter(reader)
        for _ in range(count):
            next(pieces)
        reader.close()
        reader.close()
    assert pool._readers == 0
    assert all(job.users == 0 for job in pool._jobs.values())
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: pull(store.blobs, digest), range(4))) == [layer()] * 4


def test_a_store_refuses_readers_beyond_the_bound(
    evicted: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = evicted
    digest = push(store.blobs, layer())
    monkeypatch.setattr(replay_pool, "_READERS_MAX", 1)
    with store.blobs.open_range(digest) as reader:
        with pytest.raises(ServerBusy):
            store.blobs.open_range(digest)
        assert store.blobs.stat(digest).size == len(layer()), "a HEAD costs nothing"
        assert len(list(reader)) > 1
    assert pull(store.blobs, digest) == layer()
    assert store.statistics().damaged_blobs == 0

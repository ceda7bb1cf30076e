"""The account of a file system: processes share it, and it stays right after one is killed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dtrfast.machine import bytes_in_flight
from dtrfast.machine.bytes_in_flight import LIMIT_MIN, RATE_UNKNOWN, BytesInFlight

_MIB = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "account"


@pytest.fixture
def closing() -> Iterator[Callable[[BytesInFlight], BytesInFlight]]:
    """A function that registers objects to be closed after the test."""
    with ExitStack() as stack:

        def later(account: BytesInFlight) -> BytesInFlight:
            stack.callback(account.close)
            return account

        yield later


def _killed(work: Callable[[], object]) -> None:
    """Run `work` in a process, which then gets SIGKILL."""
    child = os.fork()
    if child == 0:
        work()
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


def test_two_processes_share_counts_and_rate(
    path: Path, closing: Callable[[BytesInFlight], BytesInFlight]
) -> None:
    one, other = closing(BytesInFlight(path)), closing(BytesInFlight(path))
    one.send(5)
    other.send(7)
    other.land(4)
    one.learn(40 * _MIB, 1.0, was_busy=True)
    assert (one.in_flight, one.landed) == (other.in_flight, other.landed) == (8, 4)
    assert one.rate == other.rate > RATE_UNKNOWN
    assert path.stat().st_mode & 0o777 == 0o600


def test_bytes_of_a_killed_process_are_forgotten(
    path: Path, closing: Callable[[BytesInFlight], BytesInFlight]
) -> None:
    account, living = closing(BytesInFlight(path)), closing(BytesInFlight(path))
    living.send(3)
    _killed(lambda: BytesInFlight(path).send(LIMIT_MIN * 100))
    assert account.in_flight == LIMIT_MIN * 100 + 3
    account.forget_dead()
    assert account.in_flight == 3


def test_the_next_process_forgets_them_too(
    path: Path, closing: Callable[[BytesInFlight], BytesInFlight]
) -> None:
    _killed(lambda: BytesInFlight(path).send(LIMIT_MIN * 100))
    assert closing(BytesInFlight(path)).in_flight == 0


def test_a_full_account_looks_for_dead_processes(
    path: Path, closing: Callable[[BytesInFlight], BytesInFlight], monkeypatch: pytest.MonkeyPatch
) -> None:
    account = closing(BytesInFlight(path))
    _killed(lambda: BytesInFlight(path).send(LIMIT_MIN * 100))
    assert account.is_full()
    monkeypatch.setattr(bytes_in_flight, "_DEAD_SECONDS", 0.0)
    assert not account.is_full()


def test_turns_are_taken_one_at_a_time_and_end_with_their_holder(
    path: Path, closing: Callable[[BytesInFlight], BytesInFlight]
) -> None:
    one, other = closing(BytesInFlight(path)), closing(BytesInFlight(path))
    _killed(lambda: one.turn().__enter__())
    inside: list[str] = []
    with one.turn():
        waiter = threading.Thread(target=_enter, args=(other, inside))
        waiter.start()
        waiter.join(0.02)
        inside.append("a")
    waiter.join()
    assert inside == ["a", "b"]


def _enter(account: BytesInFlight, inside: list[str]) -> None:
    with account.turn():
        inside.append("b")


def test_without_shared_memory_a_process_counts_for_itself(
    path: Path, closing: Callable[[BytesInFlight], BytesInFlight]
) -> None:
    target = path.with_name("target")
    target.touch()
    path.symlink_to(target)  # as another user could have put it there
    for place in (path, path / "below" / "nothing", None):
        account = closing(BytesInFlight(place))
        account.send(5)
        with account.turn():
            assert (account.in_flight, closing(BytesInFlight(place)).in_flight) == (5, 0)
    assert target.stat().st_size == 0


def test_with_all_slots_taken_a_process_counts_for_itself(
    path: Path, closing: Callable[[BytesInFlight], BytesInFlight], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bytes_in_flight, "_SLOTS", 2)
    one, _, late = (closing(BytesInFlight(path)) for _ in range(3))
    late.send(5)
    assert (one.in_flight, late.in_flight) == (0, 5)


def test_a_closed_slot_is_taken_again(path: Path) -> None:
    for _ in range(2 * 128):
        account = BytesInFlight(path)
        account.send(1)
        account.close()
    assert BytesInFlight(path).in_flight == 0


def test_the_rate_follows_the_disk() -> None:
    account = BytesInFlight(None)
    for _ in range(10):
        account.learn(500 * _MIB, 1.0, was_busy=False)
    assert 450 * _MIB < account.rate <= 500 * _MIB
    account.learn(1 * _MIB, 1.0, was_busy=False)  # the client was slow, not the disk
    assert account.rate > 450 * _MIB
    for _ in range(8):
        account.learn(5 * _MIB, 0.2, was_busy=True)
    assert 25 * _MIB <= account.rate < 28 * _MIB


def test_short_uploads_are_measured_together() -> None:
    account = BytesInFlight(None)
    for _ in range(100):
        account.observe(4 * _MIB, 0.01, 0.0)
    assert account.rate > 300 * _MIB
    before = account.rate
    for _ in range(100):
        # Most of the time the writer waited for the client.
        account.observe(_MIB // 4, 0.01, 0.0004)
    assert account.rate == before
    for _ in range(100):
        account.observe(_MIB // 4, 0.01, 0.009)
    assert 25 * _MIB <= account.rate < 60 * _MIB


def test_one_measurement_at_most_doubles_what_may_be_on_its_way() -> None:
    account = BytesInFlight(None)
    before = account.limit
    account.learn(1 << 40, 0.2, was_busy=True)
    assert account.limit <= 2 * before + 1


def test_limits_hold_for_any_disk() -> None:
    account = BytesInFlight(None)
    for _ in range(60):
        account.learn(0, 1.0, was_busy=True)
    assert account.limit == LIMIT_MIN
    assert account.piece_size <= account.limit
    for _ in range(60):
        account.learn(1 << 60, 1.0, was_busy=True)
    assert account.piece_size == 8 * _MIB
    assert account.limit == account.rate // 20


def test_each_file_system_has_its_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bytes_in_flight, "DIRECTORY", tmp_path)
    monkeypatch.setattr(bytes_in_flight, "_accounts", {})
    one, other = bytes_in_flight.of_device(0x801), bytes_in_flight.of_device(0x802)
    one.send(5)
    assert (one.in_flight, other.in_flight) == (5, 0)
    assert bytes_in_flight.of_device(0x801) is one
    assert len(os.listdir(tmp_path)) == 2
    for account in (one, other):
        account.close()

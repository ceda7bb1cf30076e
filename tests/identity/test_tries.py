"""Failed tries hold the next try, even if many come at once or flood the counts."""

from __future__ import annotations

import errno
import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from dtrfast.errors import TooManyTries
from dtrfast.identity import known_addresses, tries
from dtrfast.identity.client_networks import network_of
from dtrfast.identity.tries import (
    ACCOUNT,
    ACCOUNT_FROM_ADDRESS,
    ADDRESS,
    KNOWN,
    SIZE,
    Tries,
    TryOrigin,
)
from dtrfast.index.tables import KNOWN_ADDRESSES
from tests.fakes.clock import Clock
from tests.fakes.engine import MemoryEngine

HERE = "10.0.0.1"


def _guess(path: Path, workers: int) -> int:
    """Guess in twenty threads of each worker. Return the number of verified passwords."""
    verified: list[int] = []
    threads = []
    for _ in range(workers):
        counts = Tries.open(path, lambda: 1000.0)  # with a lock and a mapping of its own
        guess = partial(_guess_once, counts, verified)
        threads += [threading.Thread(target=guess) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(verified)


def _guess_once(counts: Tries, verified: list[int]) -> None:
    with suppress(TooManyTries):
        while (entered := counts.enter("rita", TryOrigin(HERE))) is None:
            pass
        verified.append(1)
        entered.fail()


def test_parallel_guesses_pass_no_bound(tmp_path: Path) -> None:
    assert _guess(tmp_path / "tries", 3) == ACCOUNT_FROM_ADDRESS.free + 1


@pytest.mark.long
def test_parallel_guesses_of_several_processes_pass_no_bound(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        guesses = [pool.apply_async(_guess, (tmp_path / "tries", 2)) for _ in range(6)]
        verified = [guess.get(60) for guess in guesses]
    assert sum(verified) == ACCOUNT_FROM_ADDRESS.free + 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counts(clock: Clock) -> Tries:
    return Tries(bytearray(SIZE), clock)


def fail(counts: Tries, account: str, source: TryOrigin, times: int = 1) -> Iterator[int]:
    """Try `times` times and fail. Yield the wait of each try that is held."""
    for _ in range(times):
        try:
            entered = counts.enter(account, source)
        except TooManyTries as error:
            yield error.seconds
        else:
            assert entered is not None
            entered.fail()


def test_those_that_run_count_until_they_are_settled(counts: Tries, clock: Clock) -> None:
    source = TryOrigin(HERE)
    running = [counts.enter("rita", source) for _ in range(ACCOUNT_FROM_ADDRESS.free + 1)]
    assert None not in running
    assert counts.enter("rita", source) is None
    assert running[0] is not None
    running[0].forget()
    assert counts.enter("rita", source) is not None
    assert counts.enter("rita", source) is None
    clock.advance(tries._RUNNING_SECONDS)  # their process died
    assert counts.enter("rita", source) is not None


def test_a_file_of_an_older_version_grows_and_keeps_no_hole(tmp_path: Path) -> None:
    """A write to a hole of a mapped file ends the process if the disk is full."""
    path = tmp_path / "tries"
    path.write_bytes(b"x" * 65_536)
    list(fail(Tries.open(path, lambda: 1000.0), "rita", TryOrigin(HERE), 7))
    assert path.stat().st_size == SIZE
    assert path.stat().st_blocks * 512 >= SIZE
    assert Tries.open(path, lambda: 1000.0).held_seconds("rita", TryOrigin(HERE)) > 0


def test_a_full_disk_lets_each_process_count_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    counts = Tries.open(tmp_path / "tries", lambda: 1000.0)
    list(fail(counts, "rita", TryOrigin(HERE), 7))
    assert counts.held_seconds("rita", TryOrigin(HERE)) > 0
    assert "the disk is full" in caplog.text


@pytest.mark.parametrize("known", [TryOrigin(HERE, is_known=True), TryOrigin(HERE, browser="b")])
def test_failures_of_others_do_not_hold_a_known_origin(counts: Tries, known: TryOrigin) -> None:
    for number in range(ADDRESS.free + 5):  # from the address, for other accounts
        list(fail(counts, f"user{number}", TryOrigin(HERE)))
    for number in range(ACCOUNT.free + 5):  # for the account, from other addresses
        list(fail(counts, "rita", TryOrigin(f"10.0.1.{number}")))
    assert counts.held_seconds("rita", TryOrigin(HERE)) > 0
    assert counts.held_seconds("rita", known) == 0
    assert counts.enter("rita", known) is not None


@pytest.mark.parametrize("known", [TryOrigin(HERE, is_known=True), TryOrigin(HERE, browser="b")])
def test_failures_of_a_known_origin_hold_it_for_a_short_while(
    counts: Tries, clock: Clock, known: TryOrigin
) -> None:
    verified = waited = 0
    while waited < 3600:
        waits = list(fail(counts, "rita", known))
        verified += not waits
        clock.advance(sum(waits))
        waited += sum(waits)
    assert 3600 / KNOWN.seconds_max <= verified <= 3600 / KNOWN.seconds_max + 10
    # They hold tries that are not known there, but no other account that is.
    assert counts.held_seconds("rita", TryOrigin(HERE)) > 0
    assert counts.held_seconds("will", TryOrigin(HERE, is_known=True)) == 0


def test_guesses_from_many_addresses_come_to_some_a_minute(counts: Tries, clock: Clock) -> None:
    """`docs/access.md` has the number. Failures are forgotten while an account waits."""
    verified, began = 0, clock()
    while clock() < began + 7200:
        source = TryOrigin(f"10.0.{verified // 250}.{verified % 250}")
        clock.advance(counts.held_seconds("rita", source))
        list(fail(counts, "rita", source))
        verified += 1
    assert 7 < (verified - ACCOUNT.free) / 120 < 8


def test_a_browser_does_not_pay_for_guesses_at_its_address(counts: Tries) -> None:
    list(fail(counts, "rita", TryOrigin(HERE, is_known=True), 20))
    assert counts.held_seconds("rita", TryOrigin(HERE, is_known=True)) > 0
    assert counts.held_seconds("rita", TryOrigin(HERE, is_known=True, browser="b")) == 0


def test_a_right_password_forgets_a_few_failures_only(counts: Tries, clock: Clock) -> None:
    source = TryOrigin(HERE, is_known=True)
    for _ in range(12):
        clock.advance(sum(fail(counts, "rita", source)))
    clock.advance(KNOWN.seconds_max)
    entered = counts.enter("rita", source)
    assert entered is not None
    entered.succeed()
    list(fail(counts, "rita", source, 2))
    assert counts.held_seconds("rita", source) > 0


def test_flooding_does_not_erase_the_counts_of_an_account_under_attack(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(tries, "_SLOTS", 64)
    monkeypatch.setattr(tries, "SIZE", tries._HEAD_SIZE + 64 * tries._SLOT.size)
    counts = Tries(bytearray(tries.SIZE), clock)
    for number in range(ACCOUNT.free + 5):
        list(fail(counts, "rita", TryOrigin(f"10.0.1.{number}")))
    for number in range(400):
        list(fail(counts, f"stranger{number}", TryOrigin(f"10.1.{number // 250}.{number % 250}")))
    assert counts.held_seconds("rita", TryOrigin("10.9.9.9")) > 0


def test_clients_cannot_choose_the_places_of_their_counts(clock: Clock) -> None:
    one, two = Tries(bytearray(SIZE), clock), Tries(bytearray(SIZE), clock)
    assert one._hash("account", "rita") != two._hash("account", "rita")


def test_addresses_count_as_what_one_client_has() -> None:
    for remote, network in (
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1%3", "192.0.2.1"),
        ("64:ff9b::192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("testclient", "testclient"),
    ):
        assert network_of(remote) == network, remote


# ---- known addresses -----------------------------------------------------------------------------
def test_addresses_of_an_account_are_bounded_and_forgotten() -> None:
    engine, now = MemoryEngine(), 1_000_000
    for number in range(known_addresses.ADDRESSES_MAX + 5):
        note = partial(known_addresses.note, account_id=7, network=f"10.0.0.{number}")
        engine.write(partial(note, now=now + number))
    now += known_addresses.ADDRESSES_MAX + 5
    with engine.read() as transaction:
        assert len(list(transaction.scan(KNOWN_ADDRESSES))) == known_addresses.ADDRESSES_MAX
        known = partial(known_addresses.is_known, transaction, 7)
        assert not known("10.0.0.4", now)
        assert known("10.0.0.5", now)
        assert not known_addresses.is_known(transaction, 8, "10.0.0.5", now)
        assert not known("10.0.0.5", now + known_addresses.KNOWN_SECONDS)
        assert not known_addresses.is_note_due(transaction, 7, "10.0.0.50", now)
        due = known_addresses.is_note_due
        assert due(transaction, 7, "10.0.0.50", now + known_addresses.NOTE_SECONDS)
    engine.write(partial(known_addresses.forget_all, account_id=7))
    with engine.read() as transaction:
        assert list(transaction.scan(KNOWN_ADDRESSES)) == []

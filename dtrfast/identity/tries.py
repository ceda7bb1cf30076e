"""Limits on tries of passwords: counts of failures and of running tries, and the waits they cause.

A few failures are free. Then the wait doubles with each failure, up to a bound. Failures count half
after each half-life. A try is entered before its password is verified and settled afterwards, so
parallel guesses together cannot exceed a bound.

Three counts hold a try: its address, its account as tried from that address, and its account from
anywhere. If the account signed in from the same origin before, one count with a short bound holds
the try. Other clients thus cannot lock the user out.

All processes of a server count in one small file, which each maps into memory. A lock on the file
makes entering and settling atomic. If all places of a count are taken, it replaces the smallest
count there. A flood of names thus does not erase the count of an account under attack.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import math
import mmap
import os
import secrets
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dtrfast.errors import StorageFull, TooManyTries
from dtrfast.identity.client_networks import network_of
from dtrfast.machine import disk

log = logging.getLogger("dtrfast.tries")

# A slot: hash of the key, second of the last failure, failures, second of the last entry, running
_SLOT = struct.Struct("<QIfII")
_SLOTS = 32_768
_PROBES = 8
# The file's head: a magic number for the layout, and a hash key, so that no client can choose a
# slot.
_MAGIC = b"DTRTRY2\0"
_KEY_SIZE = 16
_HEAD_SIZE = _SLOT.size * 2
SIZE = _HEAD_SIZE + _SLOT.size * _SLOTS
# A failure counts half after this long.
_HALF_LIFE_SECONDS = 300.0
# A right password cancels this many failures: those of a user who mistyped.
_FORGIVEN = 5
# A try that was entered longer ago belonged to a process that died.
_RUNNING_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit: `free` failures cost nothing. Each further one doubles the wait, up to
    `seconds_max`.
    """

    free: int
    seconds_max: int

    def wait_seconds(self, failures: float) -> int:
        """Return the seconds between the last failure and the next try."""
        over = failures - self.free
        return 0 if over <= 0 else int(min(self.seconds_max, 2.0 ** min(over, 20.0)))

    def room(self, failures: float) -> int:
        """Return the number of tries that may run at a time. If all fail, the next has to wait."""
        return max(1, self.free + 1 - math.floor(failures))


# A company's jobs may share one address, and one of them may have a wrong password.
ADDRESS = Limit(free=20, seconds_max=60)
ACCOUNT_FROM_ADDRESS = Limit(free=5, seconds_max=900)
# The bound is short because any client may make an account wait.
ACCOUNT = Limit(free=50, seconds_max=30)
# An address or a browser that the account signed in from before. The bound is short because clients
# behind the same proxy may share the address: 3 guesses a minute at most.
KNOWN = Limit(free=5, seconds_max=20)


@dataclass(frozen=True, slots=True)
class TryOrigin:
    """The origin of a try, as the account knows it.

    `remote` is the client's address. `is_known`: the account signed in from it before. `browser` is
    the id of the browser if the account signed in with it before, else empty.
    """

    remote: str
    is_known: bool = False
    browser: str = ""


class Tries:
    """Counts of tries in `SIZE` bytes of memory. Safe from many threads and processes.

    `clock` gives seconds since the epoch. `descriptor` is the file to lock; -1 if no other process
    counts.
    """

    def __init__(
        self,
        memory: bytearray | mmap.mmap,
        clock: Callable[[], float],
        descriptor: int = -1,
    ) -> None:
        assert len(memory) == SIZE
        self._memory = memory
        self._clock = clock
        self._descriptor = descriptor
        self._mutex = threading.Lock()
        with self._locked():
            if memory[: len(_MAGIC)] != _MAGIC:  # a new file, or one of an older version
                memory[:] = bytes(SIZE)
                memory[len(_MAGIC) : len(_MAGIC) + _KEY_SIZE] = secrets.token_bytes(_KEY_SIZE)
                memory[: len(_MAGIC)] = _MAGIC
        self._key = bytes(memory[len(_MAGIC) : len(_MAGIC) + _KEY_SIZE])

    @classmethod
    def open(cls, path: Path, clock: Callable[[], float]) -> Tries:
        """Return the counts of a server: all processes that open `path` count together.

        If a full disk has no room for the file, this process counts alone.
        """
        try:
            with disk.reported():
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    if os.fstat(descriptor).st_size < SIZE:  # new, or of an older version
                        # Not sparse: on a full disk, a write to a hole ends the process by SIGBUS.
                        os.posix_fallocate(descriptor, 0, SIZE)
                    return cls(mmap.mmap(descriptor, SIZE), clock, descriptor)
                except BaseException:
                    os.close(descriptor)
                    raise
        except StorageFull:
            log.warning("%s: the disk is full; each process counts failed sign-ins alone", path)
            return cls(bytearray(SIZE), clock)

    def enter(self, account: str, source: TryOrigin) -> Try | None:
        """Count a try that is about to be verified. The caller must settle it.

        Return None while as many tries run as may fail; call again some milliseconds later. Raises
        `TooManyTries` while earlier failures hold the try.
        """
        holding, others = self._holding(account, source)
        with self._locked():
            wait_seconds = max(self._wait(limit, key) for limit, key in holding)
            if wait_seconds > 0:
                raise TooManyTries(wait_seconds)
            slots = ((limit, self._read(key)) for limit, key in holding)
            if any(s and self._running(s) >= limit.room(self._decayed(s)) for limit, s in slots):
                return None
            keys = (*(key for _, key in holding), *others)
            for key in keys:
                self._add(key, running=1)
        return Try(self, keys, own=holding[0][1])

    def held_seconds(self, account: str, source: TryOrigin) -> int:
        """Return the seconds until earlier failures allow a try; 0: now. Never waits, and enters
        nothing.
        """
        holding, _ = self._holding(account, source)
        return max(self._wait(limit, key) for limit, key in holding)

    def address_held_seconds(self, remote: str) -> int:
        """Return the seconds until an address may try accounts that do not know it. Never waits."""
        return self._wait(ADDRESS, self._hash("address", network_of(remote)))

    def settle(self, keys: tuple[int, ...], *, failed: bool) -> None:
        """End a try. It counts as a failure only if `failed`."""
        with self._locked():
            for key in keys:
                self._add(key, running=-1, failures=int(failed))

    def forgive(self, key: int) -> None:
        """Forget `_FORGIVEN` failures. Not all, since another client may have caused them."""
        with self._locked():
            slot = self._read(key)
            if slot is not None:
                left = max(0.0, self._decayed(slot) - _FORGIVEN)
                self._write(key, replace(slot, failed_at=int(self._clock()), failures=left))

    # ---- counts -------------------------------------------------------------------------------
    def _holding(
        self, account: str, source: TryOrigin
    ) -> tuple[list[tuple[Limit, int]], tuple[int, ...]]:
        """Return the limits and keys of the counts that hold a try, its own first. Return also the
        keys of other counts that its failure adds to.
        """
        network = network_of(source.remote)
        address = self._hash("address", network)
        pair = self._hash("account from address", account, network)
        anywhere = self._hash("account", account)
        if source.browser:
            browser = self._hash("browser", account, source.browser)
            return [(KNOWN, browser)], (address, pair, anywhere)
        if source.is_known:
            return [(KNOWN, pair)], (address, anywhere)
        return [(ACCOUNT_FROM_ADDRESS, pair), (ADDRESS, address), (ACCOUNT, anywhere)], ()

    def _wait(self, limit: Limit, key: int) -> int:
        slot = self._read(key)
        if slot is None:
            return 0
        age = max(0, int(self._clock()) - slot.failed_at)
        return max(0, limit.wait_seconds(self._decayed(slot)) - age)

    def _decayed(self, slot: _Slot) -> float:
        """Return the failures of a slot that still count."""
        seconds = max(0.0, self._clock() - slot.failed_at)
        return float(slot.failures * 0.5 ** (seconds / _HALF_LIFE_SECONDS))

    def _running(self, slot: _Slot) -> int:
        return slot.running if self._clock() - slot.entered_at < _RUNNING_SECONDS else 0

    def _add(self, key: int, *, running: int, failures: int = 0) -> None:
        now = int(self._clock())
        slot = self._read(key) or _Slot(now, 0.0, now, 0)
        if failures:
            slot = replace(slot, failed_at=now, failures=self._decayed(slot) + failures)
        left = max(0, self._running(slot) + running)
        slot = replace(slot, entered_at=now if running > 0 else slot.entered_at, running=left)
        self._write(key, slot)

    def _write(self, key: int, slot: _Slot) -> None:
        at = self._find(key)
        if at is None:
            if slot.running == 0 and slot.failures == 0:
                return  # another count has replaced it, and there is nothing to write
            at = min(self._places(key), key=self._weight)
        _SLOT.pack_into(
            self._memory,
            at,
            key,
            slot.failed_at,
            min(slot.failures, 1e6),
            slot.entered_at,
            slot.running,
        )

    def _weight(self, at: int) -> tuple[bool, float, int]:
        """Return the order in which slots are replaced: empty, fewest failures, oldest."""
        key, *fields = _SLOT.unpack_from(self._memory, at)
        slot = _Slot(*fields)
        return key != 0, self._decayed(slot) + self._running(slot), slot.failed_at

    def _read(self, key: int) -> _Slot | None:
        at = self._find(key)
        return None if at is None else _Slot(*_SLOT.unpack_from(self._memory, at)[1:])

    def _find(self, key: int) -> int | None:
        for at in self._places(key):
            if _SLOT.unpack_from(self._memory, at)[0] == key:
                return at
        return None

    def _places(self, key: int) -> list[int]:
        return [_HEAD_SIZE + (key + probe) % _SLOTS * _SLOT.size for probe in range(_PROBES)]

    def _hash(self, *parts: str) -> int:
        text = "\0".join(parts).encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(text, key=self._key, digest_size=8).digest()
        return int.from_bytes(digest, "little") | 1

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the mutex and the file's lock. Each holder keeps them for microseconds only."""
        with self._mutex:
            if self._descriptor < 0:
                yield
                return
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)


@dataclass(frozen=True, slots=True)
class _Slot:
    """The fields of one count. Times are seconds since the epoch."""

    failed_at: int
    failures: float
    entered_at: int
    running: int


@dataclass(frozen=True, slots=True)
class Try:
    """A running try. It is settled once, by `fail`, `succeed` or `forget`.

    `keys` are the counts that it is entered in. `own` is the most exact of them.
    """

    tries: Tries
    keys: tuple[int, ...]
    own: int

    def fail(self) -> None:
        """Count a wrong password."""
        self.tries.settle(self.keys, failed=True)

    def succeed(self) -> None:
        """End the try of a right password, and forget a few failures before it."""
        self.forget()
        self.tries.forgive(self.own)

    def forget(self) -> None:
        """End the try without a count: the password could not be verified."""
        self.tries.settle(self.keys, failed=False)

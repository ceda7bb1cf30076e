"""Failed tries to sign in, and how long the next one has to wait.

A few failures are free; then the wait doubles with each, up to a bound. Failures are forgotten by
halves as time passes. What is counted: an address; an account as tried from an address, so that
nobody can lock a user out from elsewhere; an account as tried from anywhere, with a short bound.

All processes of a server count in one small file that each of them maps into memory. It is no
ledger: two that count at once may count once, and when it is full the oldest counts give way.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dtrfast.store import disk

_SLOT = struct.Struct("<QIf")  # hash of what is counted, second of the last failure, failures
_SLOTS = 4096
_PROBES = 8
SIZE = _SLOT.size * _SLOTS
# A failure counts half after this long.
_HALF_LIFE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Limit:
    """So many failures are free; the wait then doubles from one second up to `seconds_max`."""

    free: int
    seconds_max: int

    def wait_seconds(self, failures: float) -> int:
        over = failures - self.free
        return 0 if over <= 0 else int(min(self.seconds_max, 2.0 ** min(over, 20.0)))


# A company's jobs may share one address, and one of them may have a wrong password.
ADDRESS = Limit(free=20, seconds_max=60)
ACCOUNT_FROM_ADDRESS = Limit(free=5, seconds_max=900)
# The bound is short because anybody may make it wait for anybody.
ACCOUNT = Limit(free=50, seconds_max=30)


class Tries:
    """Counts over `SIZE` bytes of memory. `clock` gives seconds since the epoch."""

    def __init__(self, memory: bytearray | mmap.mmap, clock: Callable[[], float]) -> None:
        assert len(memory) == SIZE
        self._memory = memory
        self._clock = clock

    @classmethod
    def open(cls, path: Path, clock: Callable[[], float]) -> Tries:
        """Those of a server: whoever opens `path` counts with the others."""
        with disk.reported():
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(descriptor).st_size != SIZE:
                    os.ftruncate(descriptor, SIZE)
                return cls(mmap.mmap(descriptor, SIZE), clock)
            finally:
                os.close(descriptor)

    def wait_seconds(self, account: str, remote: str) -> int:
        """How long to wait before this account may be tried from this address; 0: not at all."""
        return max(
            limit.wait_seconds(self._failures(key)) - self._age(key)
            for limit, key in _keys(account, remote)
        )

    def address_wait_seconds(self, remote: str) -> int:
        """How long to wait before anything may be tried from this address."""
        key = _key("address", remote)
        return max(0, ADDRESS.wait_seconds(self._failures(key)) - self._age(key))

    def fail(self, account: str, remote: str) -> None:
        """Count a failure."""
        for _, key in _keys(account, remote):
            self._count(key)

    def succeed(self, account: str, remote: str) -> None:
        """The right password: what was counted of this account from there is forgotten."""
        at = self._find(_key("account from address", account, remote))
        if at is not None:
            _SLOT.pack_into(self._memory, at, 0, 0, 0.0)

    def _failures(self, key: int) -> float:
        """Failures that still count."""
        at = self._find(key)
        if at is None:
            return 0.0
        _, second, count = _SLOT.unpack_from(self._memory, at)
        return _decayed(count, self._clock() - second)

    def _age(self, key: int) -> int:
        """Seconds since the last failure."""
        at = self._find(key)
        if at is None:
            return 0
        return max(0, int(self._clock()) - int(_SLOT.unpack_from(self._memory, at)[1]))

    def _find(self, key: int) -> int | None:
        for at in _places(key):
            if _SLOT.unpack_from(self._memory, at)[0] == key:
                return at
        return None

    def _count(self, key: int) -> None:
        now = int(self._clock())
        at = self._find(key)
        count = self._failures(key)
        if at is None:
            at = min(_places(key), key=lambda p: _SLOT.unpack_from(self._memory, p)[1])
        _SLOT.pack_into(self._memory, at, key, now, min(count + 1.0, 1e6))


def _decayed(count: float, seconds: float) -> float:
    return float(count * 0.5 ** (max(0.0, seconds) / _HALF_LIFE_SECONDS))


def _keys(account: str, remote: str) -> list[tuple[Limit, int]]:
    return [
        (ADDRESS, _key("address", remote)),
        (ACCOUNT_FROM_ADDRESS, _key("account from address", account, remote)),
        (ACCOUNT, _key("account", account)),
    ]


def _key(*parts: str) -> int:
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") | 1


def _places(key: int) -> list[int]:
    return [(key + probe) % _SLOTS * _SLOT.size for probe in range(_PROBES)]

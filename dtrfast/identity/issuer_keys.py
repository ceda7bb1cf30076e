"""Keys of issuers of jobs' tokens, asked for in the background.

A request never asks an issuer itself. It takes the keys that are known; if its token's key is not
among them, it waits a moment for an ask that runs on a thread of its own, one an issuer. Few
requests wait at a time: a token that names an issuer needs no signature to be sent.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from joserfc.jwk import KeySet

from dtrfast.errors import DtrfastError, IssuerUnavailable, TokenInvalid
from dtrfast.identity.oidc import Issuer

log = logging.getLogger("dtrfast.issuers")

# Keys are asked for again well before an hour, the time that issuers let them be cached.
_REFRESH_SECONDS = 2700.0
# An issuer that is down is believed by the keys it had, for as long as it takes to mend it.
STALE_SECONDS = 86_400.0
# A token with a made-up key id makes us ask again at most this often.
ASK_AGAIN_SECONDS = 30.0
# An issuer that fails is left alone for longer each time, while no token of it comes.
_BACK_OFF_SECONDS_MAX = 600.0
# The time in which an issuer answers that is well. A client waits that much longer for its job.
_WAIT_SECONDS = 2.0
_WATCH_SECONDS = 10.0

# Asks an issuer for its keys. Raises `IssuerUnavailable`.
Fetch = Callable[[Issuer], KeySet]


@dataclass(slots=True)
class _Known:
    """An issuer's keys as last read, and the ask that runs."""

    keys: KeySet | None = None
    read_at: float = -STALE_SECONDS
    asked_at: float = -STALE_SECONDS
    # When a token may be the reason to ask. An ask that was due anyway does not count, unless it
    # failed: a key that was made just after it is found by the first job that has it.
    may_be_asked_at: float = -STALE_SECONDS
    is_asking: bool = False
    failures: int = 0
    reason: str = ""
    waiting: int = 0


class IssuerKeys:
    """The keys of issuers. Safe from many threads; nothing holds a lock while an issuer is asked.

    `waiting_max` requests wait at a time, half of them for one issuer. `elapsed` gives seconds that
    never go back.
    """

    def __init__(
        self,
        fetch: Fetch,
        elapsed: Callable[[], float] = time.monotonic,
        waiting_max: int = 4,
        wait_seconds: float = _WAIT_SECONDS,
    ) -> None:
        self._fetch = fetch
        self._elapsed = elapsed
        self._waiting_max = waiting_max
        self._wait_seconds = wait_seconds
        self._waiting = 0
        self._known: dict[Issuer, _Known] = {}
        self._changed = threading.Condition()

    def find(self, issuer: Issuer, kid: str | None) -> KeySet:
        """Keys with the one of this id, or all of them without an id.

        Raises `TokenInvalid` if the issuer has no such key, `IssuerUnavailable` if that is not
        known yet.
        """
        with self._changed:
            known = self._known.setdefault(issuer, _Known())
            keys = self._current(known)
            if keys is not None and _has(keys, kid):
                if self._is_due(known):
                    self._start(issuer, known)
                return keys
            if not known.is_asking:
                wait_seconds = known.may_be_asked_at - self._elapsed()
                if wait_seconds > 0:
                    raise _refusal(issuer, keys, known, wait_seconds)
                self._start(issuer, known)
                known.may_be_asked_at = self._elapsed() + ASK_AGAIN_SECONDS
            self._wait(issuer, known)
            keys = self._current(known)
            if keys is None or (known.reason and not _has(keys, kid)):
                raise IssuerUnavailable(_unavailable(issuer, known))
            if not _has(keys, kid):
                raise _refusal(issuer, keys, known, ASK_AGAIN_SECONDS)
            return keys

    def keep(self, issuers: Sequence[Issuer]) -> None:
        """Ask those of the issuers whose keys are due, and forget all other issuers."""
        with self._changed:
            for gone in self._known.keys() - set(issuers):
                del self._known[gone]
            for issuer in issuers:
                known = self._known.setdefault(issuer, _Known())
                if self._is_due(known):
                    self._start(issuer, known)

    def _current(self, known: _Known) -> KeySet | None:
        is_stale = self._elapsed() - known.read_at >= STALE_SECONDS
        return None if is_stale else known.keys

    def _is_due(self, known: _Known) -> bool:
        if known.is_asking:
            return False
        now = self._elapsed()
        if known.failures:
            pause = ASK_AGAIN_SECONDS * 2.0 ** min(known.failures - 1, 16)
            return now - known.asked_at >= min(pause, _BACK_OFF_SECONDS_MAX)
        return now - known.read_at >= _REFRESH_SECONDS

    def _start(self, issuer: Issuer, known: _Known) -> None:
        name = f"dtrfast-issuer-{issuer.name}"
        threading.Thread(target=self._ask, args=(issuer, known), name=name, daemon=True).start()
        # After the thread: where none can start, none is asking. Its end waits for our lock.
        known.asked_at, known.is_asking = self._elapsed(), True

    def _ask(self, issuer: Issuer, known: _Known) -> None:
        """On a thread of its own."""
        keys, reason = None, ""
        try:
            keys = self._fetch(issuer)
        except DtrfastError as error:
            reason = error.message
        except Exception as error:
            log.exception("asking the issuer %s failed", issuer.name)
            reason = type(error).__name__
        with self._changed:
            if keys is not None:
                known.keys, known.read_at = keys, self._elapsed()
            if reason and not known.failures:
                log.warning("%s; its jobs sign in with the keys that are known", reason)
            known.failures = known.failures + 1 if reason else 0
            if reason:
                known.may_be_asked_at = known.asked_at + ASK_AGAIN_SECONDS
            known.reason, known.is_asking = reason, False
            self._changed.notify_all()

    def _wait(self, issuer: Issuer, known: _Known) -> None:
        """Let go of the lock until the ask has ended. Raises `IssuerUnavailable`."""
        for_one = (self._waiting_max + 1) // 2
        if self._waiting >= self._waiting_max or known.waiting >= for_one:
            raise IssuerUnavailable(_unavailable(issuer, known))
        self._waiting, known.waiting = self._waiting + 1, known.waiting + 1
        try:
            self._changed.wait_for(lambda: not known.is_asking, self._wait_seconds)
        finally:
            self._waiting, known.waiting = self._waiting - 1, known.waiting - 1
        if known.is_asking:
            raise IssuerUnavailable(_unavailable(issuer, known))


class IssuerWatch:
    """A thread that keeps the keys of all issuers that are set, whichever process set them."""

    def __init__(self, keys: IssuerKeys, read: Callable[[], Sequence[Issuer]]) -> None:
        self._keys = keys
        self._read = read
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="dtrfast-issuers", daemon=True)

    def start(self) -> None:
        """Begin to keep keys."""
        self._thread.start()

    def close(self) -> None:
        """End the thread. Asks that run end on their own, and use nothing that is closed."""
        self._ending.set()
        self._thread.join()

    def _work(self) -> None:
        while True:
            try:
                self._keys.keep(self._read())
            except Exception:
                log.exception("the issuers cannot be read; they will be in %s s", _WATCH_SECONDS)
            if self._ending.wait(_WATCH_SECONDS):
                return


def _has(keys: KeySet, kid: str | None) -> bool:
    return kid is None or any(key.kid == kid for key in keys.keys)


def _refusal(
    issuer: Issuer, keys: KeySet | None, known: _Known, wait_seconds: float
) -> DtrfastError:
    if keys is None or known.reason:
        return IssuerUnavailable(_unavailable(issuer, known))
    return TokenInvalid(
        f"the issuer {issuer.name} publishes no key with the token's id (kid); if it has just made"
        f" one, try again in {max(1, round(wait_seconds))} s"
    )


def _unavailable(issuer: Issuer, known: _Known) -> str:
    if known.reason:
        return f"{known.reason}: try again in a moment"
    return f"the issuer {issuer.name} is being asked for its keys: try again in a moment"

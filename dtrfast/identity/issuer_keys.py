"""The keys of issuers of jobs' tokens, fetched in the background.

A request never fetches keys itself. It uses the keys in memory. If the key of its token is not
among them, the request waits a moment for a fetch on another thread, one for each issuer. Few
requests may wait at a time, since any client can send an unsigned token that names an issuer.
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

# Keys are fetched again well before an hour, the time for which issuers let clients cache them.
_REFRESH_SECONDS = 2700.0
# While an issuer is down, its last keys count for this long, so that it can be repaired.
STALE_SECONDS = 86_400.0
# Tokens with unknown key ids cause a fetch at most this often.
ASK_AGAIN_SECONDS = 30.0
# The maximum pause between fetches that fail, while no token of the issuer comes.
_BACK_OFF_SECONDS_MAX = 600.0
# A request waits this long for a fetch. A healthy issuer answers within it.
_WAIT_SECONDS = 2.0
_WATCH_SECONDS = 10.0

# Fetches the keys of an issuer. Raises `IssuerUnavailable`.
Fetch = Callable[[Issuer], KeySet]


@dataclass(slots=True)
class _IssuerState:
    """An issuer's last keys, and the state of its fetches. Times are those of `elapsed`."""

    keys: KeySet | None = None
    read_at: float = -STALE_SECONDS
    asked_at: float = -STALE_SECONDS
    # From then on a token may cause a fetch. A regular fetch that succeeded does not delay it: the
    # first job with a key that the issuer made just after that fetch must find the key.
    may_be_asked_at: float = -STALE_SECONDS
    is_asking: bool = False
    failures: int = 0
    reason: str = ""
    waiting: int = 0


class IssuerKeys:
    """The keys of issuers. Safe from many threads. No lock is held during a fetch.

    At most `waiting_max` requests wait at a time, half of them for one issuer. `elapsed` gives
    seconds that never go back.
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
        self._known: dict[Issuer, _IssuerState] = {}
        self._changed = threading.Condition()

    def find(self, issuer: Issuer, kid: str | None) -> KeySet:
        """See `PublishedKeys.find`. Waits up to `wait_seconds` for a fetch."""
        with self._changed:
            known = self._known.setdefault(issuer, _IssuerState())
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
        """Start the fetches that are due. Forget issuers that are not in `issuers`."""
        with self._changed:
            for gone in self._known.keys() - set(issuers):
                del self._known[gone]
            for issuer in issuers:
                known = self._known.setdefault(issuer, _IssuerState())
                if self._is_due(known):
                    self._start(issuer, known)

    def _current(self, known: _IssuerState) -> KeySet | None:
        """Return the keys in memory unless they are stale."""
        is_stale = self._elapsed() - known.read_at >= STALE_SECONDS
        return None if is_stale else known.keys

    def _is_due(self, known: _IssuerState) -> bool:
        """Return True if a regular fetch should start now."""
        if known.is_asking:
            return False
        now = self._elapsed()
        if known.failures:
            pause = ASK_AGAIN_SECONDS * 2.0 ** min(known.failures - 1, 16)
            return now - known.asked_at >= min(pause, _BACK_OFF_SECONDS_MAX)
        return now - known.read_at >= _REFRESH_SECONDS

    def _start(self, issuer: Issuer, known: _IssuerState) -> None:
        name = f"dtrfast-issuer-{issuer.name}"
        threading.Thread(target=self._ask, args=(issuer, known), name=name, daemon=True).start()
        # After the start: if no thread can start, no fetch runs. The fetch cannot end before this,
        # since its end needs the lock.
        known.asked_at, known.is_asking = self._elapsed(), True

    def _ask(self, issuer: Issuer, known: _IssuerState) -> None:
        """Fetch an issuer's keys. Runs on a thread of its own."""
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
                log.warning("%s; jobs sign in with the last keys of the issuer", reason)
            known.failures = known.failures + 1 if reason else 0
            if reason:
                known.may_be_asked_at = known.asked_at + ASK_AGAIN_SECONDS
            known.reason, known.is_asking = reason, False
            self._changed.notify_all()

    def _wait(self, issuer: Issuer, known: _IssuerState) -> None:
        """Release the lock until the fetch has ended. Raises `IssuerUnavailable`."""
        one_issuer_max = (self._waiting_max + 1) // 2
        if self._waiting >= self._waiting_max or known.waiting >= one_issuer_max:
            raise IssuerUnavailable(_unavailable(issuer, known))
        self._waiting, known.waiting = self._waiting + 1, known.waiting + 1
        try:
            self._changed.wait_for(lambda: not known.is_asking, self._wait_seconds)
        finally:
            self._waiting, known.waiting = self._waiting - 1, known.waiting - 1
        if known.is_asking:
            raise IssuerUnavailable(_unavailable(issuer, known))


class IssuerWatch:
    """A thread that keeps the keys of all issuers in the settings.

    `read` returns these issuers. Another process may have changed them.
    """

    def __init__(self, keys: IssuerKeys, read: Callable[[], Sequence[Issuer]]) -> None:
        self._keys = keys
        self._read = read
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="dtrfast-issuers", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End the thread. Running fetches end by themselves, and use nothing that is closed."""
        self._ending.set()
        self._thread.join()

    def _work(self) -> None:
        """Run on the thread until `close`."""
        while True:
            try:
                self._keys.keep(self._read())
            except Exception:
                log.exception("could not read the issuers; next try in %s s", _WATCH_SECONDS)
            if self._ending.wait(_WATCH_SECONDS):
                return


def _has(keys: KeySet, kid: str | None) -> bool:
    return kid is None or any(key.kid == kid for key in keys.keys)


def _refusal(
    issuer: Issuer, keys: KeySet | None, known: _IssuerState, wait_seconds: float
) -> DtrfastError:
    if keys is None or known.reason:
        return IssuerUnavailable(_unavailable(issuer, known))
    return TokenInvalid(
        f"the issuer {issuer.name} publishes no key with the token's id (kid); if it has just made"
        f" one, try again in {max(1, round(wait_seconds))} s"
    )


def _unavailable(issuer: Issuer, known: _IssuerState) -> str:
    if known.reason:
        return f"{known.reason}: try again in a moment"
    return f"the issuer {issuer.name} is being asked for its keys: try again in a moment"

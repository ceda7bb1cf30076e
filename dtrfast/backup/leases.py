"""Leases: they keep a backup and a prune of the same place apart.

A backup relies on objects that no snapshot names yet, and a prune deletes such objects. So each
program writes its own lease first, and then looks for other leases: the second program sees the
lease of the first. A thread renews the lease, whatever its program waits for. A lease that was not
renewed for an hour does not count.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from dtrfast.backup.directory import ObjectInfo
from dtrfast.backup.place import BackupPlace
from dtrfast.errors import BackupFailed

Kind = Literal["backup", "prune"]

_PREFIX = "leases/"
# Any kind, since a newer dtrfast may have more kinds. Files with other names are not leases.
_match_name = re.compile(r"leases/[a-z]+-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
_RENEWED_SECONDS = 600.0
_RETRIED_SECONDS = 60.0  # after a failed renewal
_STALE_SECONDS = 3600.0
_STOPPED_SECONDS = 5.0  # the longest wait for a renewal that hangs


class Lease:
    """The lease of one program."""

    def __init__(self, place: BackupPlace, kind: Kind) -> None:
        """Write the lease. Raises `BackupFailed`."""
        self._place = place
        self.name = f"{_PREFIX}{kind}-{uuid.uuid4()}"
        self._renewed_at = _now()
        self._is_lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="dtrfast-lease", daemon=True)
        place.put(self.name, b"{}")

    def check(self) -> None:
        """Raise `BackupFailed` if the lease may have ended, so that a prune may delete objects."""
        if _now() - self._renewed_at > _STALE_SECONDS - min(_RENEWED_SECONDS, _STALE_SECONDS / 2):
            self._is_lost = True
        if self._is_lost:
            raise BackupFailed(
                f"the lease in {self._place.text} could not be renewed in time, so another program"
                " may have removed objects: run the same command again"
            )

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew the lease for the length of the block."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join(_STOPPED_SECONDS)

    def _keep(self) -> None:
        wait = _RENEWED_SECONDS
        while not self._stop.wait(wait):
            now = _now()
            wait = min(_RENEWED_SECONDS, _RETRIED_SECONDS)
            with suppress(BackupFailed):  # the program was suspended too long, or the write failed
                self.check()
                self._place.put(self.name, b"{}")
                self._renewed_at = now
                wait = _RENEWED_SECONDS


@contextmanager
def held(place: BackupPlace, kind: Kind) -> Iterator[Lease]:
    """Hold a lease for the length of the block. Several backups may run at once.

    Raises `BackupFailed` if another program holds a lease, unless both leases are of backups.
    """
    lease = Lease(place, kind)
    try:
        leases = {entry.name: entry for entry in place.found(_PREFIX) if _match_name(entry.name)}
        # The time of this lease comes from the clock that dates the other leases.
        own = leases.pop(lease.name, None)
        stale = (own.modified_at if own else time.time()) - _STALE_SECONDS
        live = [entry for entry in leases.values() if entry.modified_at >= stale]
        for entry in live:
            if kind != "backup" or _kind_of(entry) != "backup":
                raise BackupFailed(
                    f"a {_kind_of(entry)} is running in {place.text}, or was interrupted within the"
                    " last hour: try again later"
                )
        place.delete([entry.name for entry in leases.values() if entry not in live])
        if not live:  # killed programs left files unfinished
            place.delete_unfinished(stale)
        with lease.kept():
            yield lease
    finally:
        with suppress(BackupFailed):  # the lease ends by itself within an hour
            place.delete([lease.name])


def _kind_of(entry: ObjectInfo) -> str:
    return entry.name.removeprefix(_PREFIX).partition("-")[0]


def _now() -> float:
    """Return seconds of a clock that runs while the machine sleeps, and that no user can set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)

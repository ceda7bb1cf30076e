"""Leases: a backup and a prune of the same place keep out of each other's way.

A backup relies on objects that no snapshot names yet; a prune removes such. So each writes a lease
first and looks for the others' then: whichever comes second sees the first. A thread renews the
lease, whatever its program waits for. One that was not renewed for an hour does not count.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from dtrfast.backup.directory import Found
from dtrfast.backup.place import Place
from dtrfast.errors import BackupFailed

Kind = Literal["backup", "prune"]

_PREFIX = "leases/"
# Any kind: a newer dtrfast may know more. Other files that lie there are no leases.
_match_name = re.compile(r"leases/[a-z]+-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
_RENEWED_SECONDS = 600.0
_RETRIED_SECONDS = 60.0  # after a renewal that failed
_STALE_SECONDS = 3600.0
_STOPPED_SECONDS = 5.0  # a renewal that hangs is not waited for


class Lease:
    """One program's."""

    def __init__(self, place: Place, kind: Kind) -> None:
        """Write it. Raises `BackupFailed`."""
        self._place = place
        self.name = f"{_PREFIX}{kind}-{uuid.uuid4()}"
        self._renewed_at = _now()
        self._is_lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="dtrfast-lease", daemon=True)
        place.put(self.name, b"{}")

    def check(self) -> None:
        """Raise `BackupFailed` if the lease may have ended for others: they remove objects then."""
        if _now() - self._renewed_at > _STALE_SECONDS - min(_RENEWED_SECONDS, _STALE_SECONDS / 2):
            self._is_lost = True
        if self._is_lost:
            raise BackupFailed(
                f"the lease in {self._place.text} could not be renewed in time, so another program"
                " may have removed objects: run the same command again"
            )

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew it for the length of the block."""
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
            with suppress(BackupFailed):  # of a program that was suspended it came too late
                self.check()
                self._place.put(self.name, b"{}")
                self._renewed_at = now
                wait = _RENEWED_SECONDS


@contextmanager
def held(place: Place, kind: Kind) -> Iterator[Lease]:
    """A lease for the length of the block. Raises `BackupFailed` while there is one of the other
    kind, or another prune: several backups go together.
    """
    lease = Lease(place, kind)
    try:
        _look_around(place, lease.name, kind)
        with lease.kept():
            yield lease
    finally:
        with suppress(BackupFailed):  # it ends by itself
            place.delete([lease.name])


def _look_around(place: Place, name: str, kind: Kind) -> None:
    """Refuse to work beside others; remove what programs left that were killed."""
    leases = {entry.name: entry for entry in place.found(_PREFIX) if _match_name(entry.name)}
    # By the clock that dates the others' too.
    stale = (leases[name].modified_at if name in leases else time.time()) - _STALE_SECONDS
    others = [entry for entry in leases.values() if entry.name != name]
    live = [entry for entry in others if entry.modified_at >= stale]
    for entry in live:
        if kind != "backup" or _kind_of(entry) != "backup":
            raise BackupFailed(
                f"a {_kind_of(entry)} is at work in {place.text}, or was cut off within the last"
                " hour: try again later"
            )
    place.delete([entry.name for entry in others if entry not in live])
    if not live:
        place.delete_unfinished(stale)


def _kind_of(entry: Found) -> str:
    return entry.name.removeprefix(_PREFIX).partition("-")[0]


def _now() -> float:
    """Seconds that go on while the machine sleeps, whatever is done to its clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)

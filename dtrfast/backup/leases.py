"""Leases: a backup and a prune of the same place keep out of each other's way.

A backup relies on objects that no snapshot names yet; a prune removes such. So each writes a lease
first and looks for the others' then: whichever comes second sees the first. A lease is renewed
while its program works, and does not count when it was not for an hour.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from dtrfast.backup.place import Place
from dtrfast.errors import BackupFailed

Kind = Literal["backup", "prune"]

_PREFIX = "leases/"
_RENEWED_SECONDS = 600.0
_STALE_SECONDS = 3600.0


class Lease:
    """One program's."""

    def __init__(self, place: Place, name: str) -> None:
        self._place = place
        self._name = name
        self._written_at = float("-inf")
        self.renew()

    def renew(self) -> None:
        """Call it often: it writes now and then."""
        if time.monotonic() - self._written_at > _RENEWED_SECONDS:
            self._place.put(self._name, b"{}")
            self._written_at = time.monotonic()


@contextmanager
def held(place: Place, kind: Kind) -> Iterator[Lease]:
    """A lease for the length of the block. Raises `BackupFailed` while there is one of the other
    kind, or another prune: several backups go together.
    """
    name = f"{_PREFIX}{kind}-{uuid.uuid4()}"
    lease = Lease(place, name)
    try:
        for entry in place.found(_PREFIX):
            other = entry.name.removeprefix(_PREFIX).partition("-")[0]
            is_alone = kind == other == "backup" or entry.name == name
            if is_alone or entry.modified_at < time.time() - _STALE_SECONDS:
                continue
            raise BackupFailed(
                f"a {other} is at work in {place.text}, or was cut off within the last hour:"
                " try again later"
            )
        yield lease
    finally:
        place.delete([name])

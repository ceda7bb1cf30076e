"""The lines of all shares of the audit log as one list, the newest first.

A cursor has the place in each series that has lines left: `SERIES.FILE-OFFSET`, with `_` between
the places. A cursor of versions before shares is one `FILE-OFFSET`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from dtrfast.errors import PageInvalid
from dtrfast.identity.shares import Share
from dtrfast.machine import line_files


class TimedRecord(Protocol):
    """A record with a time."""

    @property
    def time(self) -> float:
        """Seconds since the epoch."""
        ...


T = TypeVar("T", bound=TimedRecord)

# Files of versions before shares are a series of their own, which does not grow.
_FORMER = "0"
_SERIES = {_FORMER: "", **{share.value: share.value for share in Share}}
_LENGTH_MAX = 255


class Timeline(Generic[T]):
    """An iterator over pairs of a parsed line and its bytes.

    It leaves out lines for which `parse` returns None. `cursor` is that of an earlier page, or
    empty. The constructor raises `PageInvalid` if it is malformed.
    """

    def __init__(self, directory: Path, cursor: str, parse: Callable[[bytes], T | None]) -> None:
        self._parse = parse
        if not cursor:
            ends = {k: line_files.end_cursor(directory, name) for k, name in _SERIES.items()}
            self._places = ends
        elif len(cursor) > _LENGTH_MAX:
            raise PageInvalid("this is no cursor of an earlier page")
        elif "." not in cursor:
            self._places = {_FORMER: cursor}
        else:
            self._places = {}
            for piece in cursor.split("_"):
                key, _, place = piece.partition(".")
                if key not in _SERIES or not place:
                    raise PageInvalid("this is no cursor of an earlier page")
                self._places[key] = place
        self._lines = {
            key: line_files.lines_before(directory, place, _SERIES[key])
            for key, place in self._places.items()
        }
        self._next: dict[str, tuple[str, T, bytes]] = {}
        for key in list(self._lines):
            self._advance(key)

    def __iter__(self) -> Iterator[tuple[T, bytes]]:
        while self._next:
            newest = max(self._next, key=lambda key: self._next[key][1].time)
            place, found, line = self._next[newest]
            self._places[newest] = place
            self._advance(newest)
            yield found, line

    def cursor(self) -> str:
        """Return the cursor after the last returned line; empty at the end."""
        return "_".join(f"{key}.{self._places[key]}" for key in self._next)

    def _advance(self, key: str) -> None:
        """Read the next line of a series that `parse` accepts."""
        for place, line in self._lines[key]:
            found = self._parse(line)
            if found is not None:
                self._next[key] = (place, found, line)
                return
        self._next.pop(key, None)

"""Lines of all shares of the audit log as one, the newest first.

A cursor of it has a place in each series that has lines left, as `SERIES.FILE-OFFSET` with `_`
between them. `FILE-OFFSET` alone is one of versions before there were shares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from dtrfast.errors import PageInvalid
from dtrfast.identity.shares import Share
from dtrfast.machine import line_files


class Timed(Protocol):
    """Something that happened."""

    @property
    def time(self) -> float: ...


T = TypeVar("T", bound=Timed)

# Files of versions before there were shares are a series of their own, which does not grow.
_FORMER = "0"
_SERIES = {_FORMER: "", **{share.value: share.value for share in Share}}
_LENGTH_MAX = 255


class Timeline(Generic[T]):
    """Iterates over parsed lines and the lines. Lines that `parse` makes nothing of are left out.

    Raises `PageInvalid` where the cursor is none.
    """

    def __init__(self, directory: Path, cursor: str, parse: Callable[[bytes], T | None]) -> None:
        self._parse = parse
        if cursor:
            self._places = _parse_cursor(cursor)
        else:
            ends = {k: line_files.end_cursor(directory, name) for k, name in _SERIES.items()}
            self._places = ends
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
        """The cursor behind the last line that was given out; empty at the end."""
        return "_".join(f"{key}.{self._places[key]}" for key in self._next)

    def _advance(self, key: str) -> None:
        for place, line in self._lines[key]:
            found = self._parse(line)
            if found is not None:
                self._next[key] = (place, found, line)
                return
        self._next.pop(key, None)


def _parse_cursor(text: str) -> dict[str, str]:
    if len(text) > _LENGTH_MAX:
        raise PageInvalid("this is no cursor of an earlier page")
    if "." not in text:
        return {_FORMER: text}
    places = {}
    for piece in text.split("_"):
        key, _, place = piece.partition(".")
        if key not in _SERIES or not place:
            raise PageInvalid("this is no cursor of an earlier page")
        places[key] = place
    return places

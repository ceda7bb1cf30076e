"""Sizes, durations and times as text for people."""

from __future__ import annotations

import re

_match_time = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?Z").fullmatch


def human(size: float) -> str:
    """Return a size in bytes as text, with three significant digits and a binary unit."""
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        del units[0]
    return f"{size:.0f} {units[0]}" if size >= 100 else f"{size:.3g} {units[0]}"


def clock(seconds: float) -> str:
    """Return a duration as minutes and seconds, such as 2:05, with hours if there are any."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def whole_seconds(time: str) -> str:
    """Return an RFC 3339 time in UTC without its fraction. Other texts are returned as they are."""
    found = _match_time(time)
    return f"{found[1]}Z" if found else time

"""Values as people read them: sizes, times, digests, and addresses of pages."""

from __future__ import annotations

from urllib.parse import quote

from dtrfast.times import parse_rfc3339

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SPANS = ((60, 1, "second"), (3600, 60, "minute"), (86_400, 3600, "hour"), (0, 86_400, "day"))
_DAYS_TOLD_MAX = 60


def size(count: float | None) -> str:
    """Bytes in the greatest unit that leaves at least one."""
    if count is None:
        return "\u2013"
    value, sign = abs(float(count)), "-" if count < 0 else ""
    unit = 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    digits = 0 if unit == 0 or value >= 100 else 1
    return f"{sign}{value:.{digits}f} {_UNITS[unit]}"


def count(number: float | None) -> str:
    """With a thin space between thousands."""
    return "\u2013" if number is None else f"{number:,.0f}".replace(",", "\u202f")


def ago(time: str, now: float) -> str:
    """How long ago a time was, or in how long it will be; a date where that is long."""
    if not time:
        return "never"
    seconds = now - parse_rfc3339(time)
    return time[:10] if abs(seconds) > _DAYS_TOLD_MAX * 86_400 else span(seconds)


def span(seconds: float) -> str:
    """`5 minutes ago`, `in 2 days`."""
    length = abs(seconds)
    if length < 1:
        return "now"
    for limit, unit, name in _SPANS:
        if length < limit or not limit:
            # What lies ahead is told to the nearest: fourteen days are not thirteen at once.
            number = int(length // unit) if seconds > 0 else max(1, round(length / unit))
            text = f"{number} {name}{'' if number == 1 else 's'}"
            return f"{text} ago" if seconds > 0 else f"in {text}"
    raise AssertionError("the last span has no limit")


def duration(seconds: float | None) -> str:
    """A length of time, from microseconds to days."""
    if seconds is None:
        return "\u2013"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return span(seconds).removesuffix(" ago")


def length(seconds: float) -> str:
    """A length of time that somebody set: `15 minutes`, `1.5 hours`."""
    for unit, name in ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= unit or unit == 1:
            number = f"{seconds / unit:.4g}"
            return f"{number} {name}{'' if number == '1' else 's'}"
    raise AssertionError("the last unit has no limit")


def short_digest(digest: str) -> str:
    """As much of a digest as tells it apart."""
    return digest.partition(":")[2][:12] or digest


def repository_url(name: str, *rest: str) -> str:
    """The page of a repository, or one below it. No part of a name is `-`."""
    path = "/repositories/" + quote(name)
    return path + "".join("/" + quote(piece, safe=":") for piece in ("-", *rest)) if rest else path


def account_url(name: str, kind: str) -> str:
    return f"/{'organizations' if kind == 'organization' else 'users'}/{quote(name, safe='')}"

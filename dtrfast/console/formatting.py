"""Values as pages show them: sizes, times and digests; and addresses of pages."""

from __future__ import annotations

import time as clock
from typing import Literal
from urllib.parse import quote

from markupsafe import Markup

from dtrfast.oci import characters
from dtrfast.times import parse_rfc3339, rfc3339

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SPANS = ((60, 1, "second"), (3600, 60, "minute"), (86_400, 3600, "hour"), (0, 86_400, "day"))
# The errors of `parse_rfc3339` and `rfc3339` for a text that is no time.
_NO_TIME = (ValueError, OverflowError, OSError)
# Older times are shown as a date.
_DAYS_MAX = 60


def size(count: float | None) -> str:
    """Return a number of bytes in the largest unit of which there is at least one; a dash for
    None.
    """
    if count is None:
        return "\u2013"
    value, sign = abs(float(count)), "-" if count < 0 else ""
    unit = 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    digits = 0 if unit == 0 or value >= 100 else 1
    return f"{sign}{value:.{digits}f} {_UNITS[unit]}"


def count(number: float | None) -> str:
    """Return a number with thin spaces between thousands; a dash for None."""
    return "\u2013" if number is None else f"{number:,.0f}".replace(",", "\u202f")


def ago(time: str, now: float) -> str:
    """Return the distance of an RFC 3339 time from `now` (Unix seconds), or its date if it is far
    away; `never` for an empty time.
    """
    if not time:
        return "never"
    seconds = now - parse_rfc3339(time)
    return _in_utc(time)[:10] if abs(seconds) > _DAYS_MAX * 86_400 else span(seconds)


def _in_utc(time: str) -> str:
    """Return an RFC 3339 time as `2026-01-31 23:59:59.123`, in UTC."""
    return rfc3339(parse_rfc3339(time)).replace("T", " ").removesuffix("Z")


def exact(time: str) -> str:
    """Return an RFC 3339 time to the second, with its zone: `2026-01-31 23:59:59 UTC`."""
    return f"{_in_utc(time)[:19]} UTC"


def exact_or_same(text: str) -> str:
    """Return `exact` of a time; another text is returned unchanged."""
    try:
        return exact(text)
    except _NO_TIME:
        return text


def field_time(text: str) -> str:
    """Return an RFC 3339 time as the value of a field for a date and time, in UTC. Other texts are
    empty, since such a field cannot show them.
    """
    try:
        return rfc3339(parse_rfc3339(text))[:16] if text else ""
    except _NO_TIME:
        return ""


def when(
    time: str, form: Literal["", "exact", "full", "log"] = "", now: float | None = None
) -> str:
    """Return the element of an RFC 3339 time. All pages show times with it.

    The text is the distance from `now` (Unix seconds). In the form `exact` it is the time to the
    second, in `full` with its zone, in `log` to the millisecond. The full time is on hover.
    `times.js` shows times in the browser's zone, and keeps distances current. A text that is no
    time, such as the date of a pushed config, is returned unchanged.
    """
    if not time:
        return Markup('<span class="faint">never</span>')
    try:
        whole = exact(time)
        texts = {"": ago(time, clock.time() if now is None else now), "exact": whole, "full": whole}
        shown = texts.get(form, _in_utc(time))
    except _NO_TIME:
        return time
    mark = Markup(' data-form="{}"').format(form) if form else ""
    element = Markup('<time datetime="{}" title="{}"{}>{}</time>')
    return element.format(rfc3339(parse_rfc3339(time)), whole, mark, shown)


def sentence(text: str, *values: str) -> str:
    """Return a sentence for a page, whose braces are filled with values: times of `when` stay
    elements, and other values are escaped, with marks as in templates.
    """
    shown = (v if isinstance(v, Markup) else characters.shown_lines(v) for v in values)
    return Markup(text).format(*shown)


def span(seconds: float) -> str:
    """Return a distance in time: `5 minutes ago`; `in 2 days` for negative seconds."""
    length = abs(seconds)
    if length < 1:
        return "now"
    for limit, unit, name in _SPANS:
        if length < limit or not limit:
            # Future times are rounded to the nearest unit. Otherwise "in 14 days" would become
            # "in 13 days" at once.
            number = int(length // unit) if seconds > 0 else max(1, round(length / unit))
            text = f"{number} {name}{'' if number == 1 else 's'}"
            return f"{text} ago" if seconds > 0 else f"in {text}"
    raise AssertionError("the last span has no limit")


def duration(seconds: float | None) -> str:
    """Return a measured length of time, from microseconds to days; a dash for None."""
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
    """Return a length of time from the settings: `15 minutes`, `1.5 hours`."""
    for unit, name in ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= unit or unit == 1:
            number = f"{seconds / unit:.4g}"
            return f"{number} {name}{'' if number == '1' else 's'}"
    raise AssertionError("the last unit has no limit")


def short_digest(digest: str) -> str:
    """Return the first twelve hex digits of a digest; other texts unchanged."""
    return digest.partition(":")[2][:12] or digest


def repository_url(name: str, *rest: str) -> str:
    """Return the address of a repository's page, or of a page below it after `-`.

    No part of a repository's name is `-`.
    """
    path = "/repositories/" + quote(name)
    return path + "".join("/" + quote(piece, safe=":") for piece in ("-", *rest)) if rest else path


def account_url(name: str, kind: str) -> str:
    """Return the address of the page of a user or an organization."""
    return f"/{'organizations' if kind == 'organization' else 'users'}/{quote(name, safe='')}"

"""Formatting and parsing of times: UTC, RFC 3339."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def rfc3339(seconds: float) -> str:
    """Return a time in UTC with milliseconds, such as 2026-01-31T23:59:59.123Z."""
    milliseconds = int(seconds * 1000)
    whole, rest = divmod(milliseconds, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{rest:03d}Z"


def parse_rfc3339(text: str) -> float:
    """Return the seconds since the epoch. A time without a zone is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

"""Counts of the calls of a process to its blob store."""

from __future__ import annotations

import msgspec


class BlobTotals(msgspec.Struct, frozen=True):
    """Counts since the process began."""

    placed: int = 0  # uploads that became content
    placed_bytes: int = 0
    opened: int = 0  # ranges of content that were opened and closed
    read_bytes: int = 0  # bytes that were read from these ranges
    released: int = 0  # contents that a release settled
    failed: dict[str, int] = {}  # failed calls, by the name of the error class

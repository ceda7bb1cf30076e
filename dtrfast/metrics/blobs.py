"""Counts of the calls that one process made of its blob store."""

from __future__ import annotations

import msgspec


class BlobTotals(msgspec.Struct, frozen=True):
    """Since the process began. `placed`: uploads that became content, and their bytes. `opened`:
    ranges of content that were opened and closed, and the bytes that were read of them. `released`:
    contents that were settled by a release. `failed`: calls that failed, by the name of the error.
    """

    placed: int = 0
    placed_bytes: int = 0
    opened: int = 0
    read_bytes: int = 0
    released: int = 0
    failed: dict[str, int] = {}

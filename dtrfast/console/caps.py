"""Notes on values that count only in part."""

from __future__ import annotations

from dtrfast.api.v0 import storage
from dtrfast.console import formatting
from dtrfast.console.page import PageRequest


def of_reserve(wanted: int, most: int) -> str:
    """Return the note on a reserve of `wanted` bytes, of which `most` count; empty if all do."""
    if wanted <= most or not most:
        return ""  # all of it counts, or the disk cannot be measured
    return (
        f"Capped to {formatting.size(most)}: the reserve is at most a twentieth of the disk,"
        f" so not all of {formatting.size(wanted)} counts."
    )


def notes(page: PageRequest, body: object) -> list[str]:
    """Return the notes on the body of a request that changes settings."""
    wanted = getattr(body, "reserve_bytes", None)
    if wanted is None:
        return []
    state = page.glance(storage.get_storage)
    found = "" if state is None else of_reserve(wanted, state.reserve_bytes_max)
    return [found] if found else []

"""Sentences about deletions and restorations of many tags and images."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dtrfast.registry.deletion import Deletion
from dtrfast.registry.restoring import Restoration

_NAMES_LISTED_MAX = 8


def describe(repository: str, answer: msgspec.Struct | None) -> str:
    """Return the result of a deletion or a restoration in words; empty for other answers."""
    if isinstance(answer, Deletion):
        items = _items(len(answer.manifests), answer.tags)
        text = f"Deleted {items} of {repository}{_names(answer.tags)}."
        if answer.missing:
            text += f" No longer there{_names(answer.missing)}."
        if answer.left:
            text += f" Too many for one deletion, delete again{_names(answer.left)}."
        return text
    if isinstance(answer, Restoration):
        items = _items(answer.manifests, answer.tags)
        text = f"Restored {items} in {repository}{_names(answer.tags)}."
        if answer.tags_taken:
            text += f" These tags now point to other images{_names(answer.tags_taken)}."
        if answer.left:
            text += f" Too many for one restoration, restore again{_names(answer.left)}."
        return text
    return ""


def _items(images: int, tags: Sequence[str]) -> str:
    counts = ((images, "image"), (len(tags), "tag"))
    parts = [f"{number} {noun}{'' if number == 1 else 's'}" for number, noun in counts if number]
    return " and ".join(parts) or "nothing"


def _names(names: Sequence[str]) -> str:
    """Return some of the names after a colon, and the number of the others.

    The names are sorted. They come in the order of the page on which they were selected: by times
    that the page shows in minutes.
    """
    if not names:
        return ""
    more = len(names) - _NAMES_LISTED_MAX
    shown = ", ".join(sorted(names)[:_NAMES_LISTED_MAX])
    return f": {shown}" + (f" and {more} more" if more > 0 else "")

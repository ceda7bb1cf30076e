"""A cache of generated content with a bound of its size."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from benchmarks.disk import occupied_bytes

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Thing:
    content: object
    folder: Path
    size: int


class Workshop:
    """Makes each piece of content once, in its own folder, and keeps it until `trim` removes it."""

    def __init__(self, folder: Path) -> None:
        """Keep the content in `folder`, which no other code uses."""
        self._folder = folder
        self._made: dict[tuple[Any, ...], _Thing] = {}  # the last used one is at the end
        self._count = 0

    def get(self, make: Callable[Concatenate[Path, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of `make(folder, *arguments)`, cached. `folder` is a new empty one."""
        key = (make, args, tuple(sorted(kwargs.items())))
        thing = self._made.pop(key, None)
        if thing is None:
            self._count += 1
            folder = self._folder / f"{make.__name__}-{self._count}"
            folder.mkdir(parents=True)
            content = make(folder, *args, **kwargs)
            thing = _Thing(content, folder, occupied_bytes(folder))
        self._made[key] = thing
        return cast(T, thing.content)

    def trim(self, size_max: int) -> None:
        """Remove the least recently used content until at most `size_max` bytes are left."""
        size = sum(thing.size for thing in self._made.values())
        for key, thing in list(self._made.items()):
            if size <= size_max:
                return
            shutil.rmtree(thing.folder, ignore_errors=True)
            size -= thing.size
            del self._made[key]

"""Where content is made, and kept for as long as there is room."""

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
    """Makes each thing once, in a folder of its own, until it is thrown away."""

    def __init__(self, folder: Path) -> None:
        """Work in `folder`, which is ours."""
        self._folder = folder
        self._made: dict[tuple[Any, ...], _Thing] = {}  # what was used last comes last
        self._count = 0

    def get(self, make: Callable[Concatenate[Path, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `make` makes with these arguments in an empty folder that it gets first."""
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
        """Throw away what was not used for longest, until the rest has `size_max` bytes at most."""
        size = sum(thing.size for thing in self._made.values())
        for key, thing in list(self._made.items()):
            if size <= size_max:
                return
            shutil.rmtree(thing.folder, ignore_errors=True)
            size -= thing.size
            del self._made[key]

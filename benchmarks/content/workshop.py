"""Where content is made and kept while it is needed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


class Workshop:
    """Makes each thing once, in a folder of its own, until everything is thrown away."""

    def __init__(self, folder: Path) -> None:
        """Work in `folder`, which is ours."""
        self._folder = folder
        self._made: dict[tuple[Any, ...], object] = {}

    def get(self, make: Callable[Concatenate[Path, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `make` makes with these arguments in an empty folder that it gets first."""
        key = (make, args, tuple(sorted(kwargs.items())))
        if key not in self._made:
            folder = self._folder / f"{make.__name__}-{len(self._made)}"
            folder.mkdir(parents=True)
            self._made[key] = make(folder, *args, **kwargs)
        return cast(T, self._made[key])

    def clear(self) -> None:
        """Throw everything away."""
        self._made.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

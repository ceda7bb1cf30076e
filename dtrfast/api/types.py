"""What the API is given by whoever assembles it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from dtrfast.config import Config
from dtrfast.registry.registry import Registry

T = TypeVar("T")


class Hop(Protocol):
    """The way to a thread. Everything that may wait for the disk goes through it."""

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Call `function` on a thread.

        Once the call has begun it ends before this returns, cancelled or not, so that nobody lets
        go of what a thread still uses. Only the first call of a request may raise `Overloaded`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What every request needs."""

    registry: Registry
    hop: Hop
    config: Config

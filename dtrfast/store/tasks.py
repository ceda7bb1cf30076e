"""Recurring work of the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Task:
    """Recurring work for the housekeeper. `run` does one bounded step.

    If `run` of an eager task returns a true value, because it did some work, the next step follows
    sooner.
    """

    name: str
    interval_seconds: float
    run: Callable[[], object]
    eager: bool = False

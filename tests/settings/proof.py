"""Proofs that a setting does something: what is seen under two of its values, which differs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest


@dataclass(frozen=True, slots=True)
class Bench:
    """What a proof works with. `stack` ends what it starts; `fixture` gives those of pytest."""

    folder: Path
    patch: pytest.MonkeyPatch
    stack: ExitStack
    fixture: Callable[[str], object]


# Looks at the behavior under one value of a setting. What it returns is compared.
Observe = Callable[[Bench, object], object]
F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Proof:
    """`seen`: pairs of a value and what is seen under it."""

    observe: Observe
    seen: tuple[tuple[object, object], ...]


PROOFS: dict[str, Proof] = {}


def proves(
    name: str, first: tuple[object, object], second: tuple[object, object]
) -> Callable[[F], F]:
    """The function proves this setting: it is given each value, and returns what is seen then."""

    def register(function: F) -> F:
        assert name not in PROOFS, f"{name} has a proof already"
        assert first[0] != second[0], f"{name}: two values are needed"
        assert first[1] != second[1], f"{name}: what is seen has to differ"
        PROOFS[name] = Proof(function, (first, second))
        return function

    return register

"""Proofs that a setting does something: its observed behavior differs between two values."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest


@dataclass(frozen=True, slots=True)
class Bench:
    """The tools of a proof: `stack` ends what it starts, and `fixture` returns a fixture."""

    folder: Path
    patch: pytest.MonkeyPatch
    stack: ExitStack
    fixture: Callable[[str], object]


# Observes the behavior under one value of a setting. The results are compared.
Observe = Callable[[Bench, object], object]
F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Proof:
    """`seen` has pairs of a value and the behavior under it."""

    observe: Observe
    seen: tuple[tuple[object, object], ...]


PROOFS: dict[str, Proof] = {}


def proves(
    name: str, first: tuple[object, object], second: tuple[object, object]
) -> Callable[[F], F]:
    """Register the function as this setting's proof: it gets a value, and returns the behavior."""

    def register(function: F) -> F:
        assert name not in PROOFS, f"{name} has a proof already"
        assert first[0] != second[0], f"{name}: two values are needed"
        assert first[1] != second[1], f"{name}: the observed behaviors have to differ"
        PROOFS[name] = Proof(function, (first, second))
        return function

    return register

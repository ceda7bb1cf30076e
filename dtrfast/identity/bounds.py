"""Bounds of credentials: the repositories that scopes name, and the actions that they give."""

from __future__ import annotations

from collections.abc import Iterable

from dtrfast.identity.records import Bound
from dtrfast.registry.permits import SCOPED, Action


def actions_on(bounds: Iterable[Bound], name: str) -> Action:
    """Return the actions that the bounds give on a repository; never ADMIN."""
    found = Action(0)
    for bound in bounds:
        if covers(bound.repository, name):
            found |= Action(bound.actions & SCOPED)
    return found


def covers(pattern: str, name: str) -> bool:
    """Return if a bound's repository, such as `acme/app`, `acme/*` or `*`, is or has this one."""
    if pattern.endswith("*"):
        return name.startswith(pattern[:-1])
    return name == pattern


def narrower(one: str, other: str) -> str:
    """Return the repositories that two patterns have in common, as a pattern; empty for none."""
    if covers(one, other):
        return other
    return one if covers(other, one) else ""

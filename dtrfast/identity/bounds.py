"""Bounds of credentials: the repositories that scopes name, and the actions that they give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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


def pulled(patterns: Iterable[str], bounds: Iterable[Bound]) -> Iterator[str]:
    """Yield what bounds that give pull leave of some repositories, as patterns.

    Costs the number of patterns: there may be thousands, and a hundred bounds.
    """
    scopes = [bound.repository for bound in bounds if bound.actions & Action.PULL]
    exact = {scope for scope in scopes if not scope.endswith("*")}
    prefixes = tuple(scope[:-1] for scope in scopes if scope.endswith("*"))
    for pattern in patterns:
        if pattern.endswith("*"):
            yield from filter(None, (narrower(pattern, scope) for scope in scopes))
        elif pattern in exact or pattern.startswith(prefixes):
            yield pattern

"""Bounds of credentials: the repositories that scopes name, and the actions that they allow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dtrfast.identity.records import Bound
from dtrfast.registry.permits import SCOPED, Action


def actions_on(bounds: Iterable[Bound], name: str) -> Action:
    """Return the actions that the bounds allow on a repository; never ADMIN."""
    found = Action(0)
    for bound in bounds:
        if covers(bound.repository, name):
            found |= Action(bound.actions & SCOPED)
    return found


def covers(pattern: str, name: str) -> bool:
    """Return True if a bound's pattern, such as `acme/app`, `acme/*` or `*`, matches a name.

    `name` may be a pattern too: the result tells that all its names match.
    """
    if pattern.endswith("*"):
        return name.startswith(pattern[:-1])
    return name == pattern


def narrower(one: str, other: str) -> str:
    """Return the repositories that two patterns have in common, as a pattern; empty for none."""
    if covers(one, other):
        return other
    return one if covers(other, one) else ""


def pull_patterns(patterns: Iterable[str], bounds: Iterable[Bound]) -> Iterator[str]:
    """Yield patterns of the repositories that match both a pattern and a bound with pull.

    A pattern that is a name costs one look-up, not one for each bound. There may be thousands of
    names and a hundred bounds.
    """
    scopes = [bound.repository for bound in bounds if bound.actions & Action.PULL]
    exact = {scope for scope in scopes if not scope.endswith("*")}
    prefixes = tuple(scope[:-1] for scope in scopes if scope.endswith("*"))
    for pattern in patterns:
        if pattern.endswith("*"):
            yield from filter(None, (narrower(pattern, scope) for scope in scopes))
        elif pattern in exact or pattern.startswith(prefixes):
            yield pattern

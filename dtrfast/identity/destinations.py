"""The places where a caller may push, in words: a refused push ends with them.

They depend on the caller alone. So a refusal says the same of a repository that is hidden and of
one that is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from dtrfast.identity import accounts, grants
from dtrfast.identity.bounds import narrower
from dtrfast.identity.grants import GrantPlace, Level
from dtrfast.identity.records import Bound
from dtrfast.index.engine import ReadTransaction
from dtrfast.index.tables import REPOSITORY_NAMES, number_key
from dtrfast.registry.permits import Action

# Names in a message: a line or two of a terminal.
_SHOWN_MAX = 8
# Namespaces, and grants, that are read for a message.
_READ_MAX = 200


@dataclass(frozen=True, slots=True)
class Destination:
    """Repositories that a caller may push to. `makes`: also those that are not there yet."""

    pattern: str
    makes: bool = True

    def __str__(self) -> str:
        if self.pattern == "*":
            return "all namespaces of accounts"
        is_many = self.pattern.endswith("*")
        return self.pattern if self.makes or not is_many else f"{self.pattern} (what exists there)"


EVERYWHERE = Destination("*")


def of_account(
    transaction: ReadTransaction, owned: Iterable[int], grantees: Iterable[int]
) -> tuple[list[Destination], bool]:
    """List the destinations of an account, and say if these are all of them.

    `owned` are its namespaces, `grantees` itself and its teams.
    """
    numbers = list(islice(owned, _READ_MAX + 1))
    rows = (row for grantee in grantees for row in grants.of_grantee(transaction, grantee))
    granted = list(islice(rows, _READ_MAX + 1))
    names = sorted(patterns_of(transaction, numbers[:_READ_MAX]))
    found = [Destination(name) for name in names]
    for place, level in granted[:_READ_MAX]:
        found += _of_grant(transaction, place, level)
    return found, max(len(numbers), len(granted)) <= _READ_MAX


def within(found: Iterable[Destination], bounds: Iterable[Bound]) -> list[Destination]:
    """Return what the scopes of a token leave of some destinations."""
    scopes = [bound.repository for bound in bounds if bound.actions & Action.PUSH]
    pairs = ((one, narrower(one.pattern, scope)) for one in found for scope in scopes)
    return [replace(one, pattern=pattern) for one, pattern in pairs if pattern]


def in_words(found: Iterable[Destination], *, is_whole: bool = True) -> str:
    """Say where a caller may push, in a part of a sentence; long lists are cut."""
    unique = list(dict.fromkeys(found))
    patterns = {one.pattern for one in unique}
    # Few want the repository `acme`, of the namespace's own name: `acme/*` stands for it as well.
    shown = [str(one) for one in unique if f"{one.pattern}/*" not in patterns]
    rest = len(shown) - _SHOWN_MAX
    more = ", and others" if not is_whole else f", and {rest} more" if rest > 0 else ""
    if not shown:
        return "you may push to no repository" if is_whole else "your grants are too many to list"
    return f"you may push to {', '.join(shown[:_SHOWN_MAX])}{more}"


def _of_grant(
    transaction: ReadTransaction, place: GrantPlace, level: Level
) -> Iterator[Destination]:
    if Action.PUSH not in level.actions:
        return
    if grants.is_namespace(place):
        for pattern in patterns_of(transaction, [place.id]):
            yield Destination(pattern, Action.ADMIN in level.actions)
        return
    name = transaction.get(REPOSITORY_NAMES, number_key(place.id))
    if name is not None:  # else it is in the trash
        yield Destination(name.decode(), makes=False)


def patterns_of(transaction: ReadTransaction, numbers: Iterable[int]) -> Iterator[str]:
    """The repository of an account's own name, and all below it."""
    for number in numbers:
        account = accounts.find_id(transaction, number)
        if account is not None:
            yield account.name
            yield f"{account.name}/*"

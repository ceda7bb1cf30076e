"""The places where a caller may push, as text: the error of a refused push ends with them.

They depend only on the caller. An error is thus equal for a hidden and for a missing repository.
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

# Names in a message, for a line or two of a terminal.
_SHOWN_MAX = 8
# The maximum of namespaces, and of grants, that are read for a message.
_READ_MAX = 200


@dataclass(frozen=True, slots=True)
class Destination:
    """Repositories to which a caller may push. `makes`: a push may also create one.

    `pattern` is a name, a prefix that ends in `/*`, or `*`.
    """

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
    """Return destinations of an account, and True if these are all.

    `owned` are the ids of its namespaces. `grantees` are its own id and those of its teams.
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
    """Return the parts of destinations to which the scopes of a token allow a push."""
    scopes = [bound.repository for bound in bounds if bound.actions & Action.PUSH]
    pairs = ((one, narrower(one.pattern, scope)) for one in found for scope in scopes)
    return [replace(one, pattern=pattern) for one, pattern in pairs if pattern]


def in_words(found: Iterable[Destination], *, is_whole: bool = True) -> str:
    """Return a clause that names the destinations. A long list is cut.

    `is_whole` is False if there are more destinations than `found`.
    """
    unique = list(dict.fromkeys(found))
    patterns = {one.pattern for one in unique}
    # `acme/*` stands for the repository `acme` as well: few users have one.
    shown = [str(one) for one in unique if f"{one.pattern}/*" not in patterns]
    rest = len(shown) - _SHOWN_MAX
    more = ", and others" if not is_whole else f", and {rest} more" if rest > 0 else ""
    if not shown:
        return "you may push to no repository" if is_whole else "your grants are too many to list"
    return f"you may push to {', '.join(shown[:_SHOWN_MAX])}{more}"


def _of_grant(
    transaction: ReadTransaction, place: GrantPlace, level: Level
) -> Iterator[Destination]:
    """Yield the destinations of a grant."""
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
    """Yield patterns for the repositories of accounts: `acme` and `acme/*` for each."""
    for number in numbers:
        account = accounts.find_id(transaction, number)
        if account is not None:
            yield account.name
            yield f"{account.name}/*"

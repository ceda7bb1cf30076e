"""An account's standing, and its rights on repositories: functions over a transaction.

Rights come from five sources, and add up:

1. The account is a system administrator.
2. It owns the namespace.
3. It, or one of its teams, has a grant on the namespace.
4. It, or one of its teams, has a grant on the repository.
5. The repository is public.

`docs/access.md` has the rules for users.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from dtrfast.identity import accounts, grants, teams
from dtrfast.identity.records import Account
from dtrfast.index.engine import ReadTransaction
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import repositories
from dtrfast.registry.permits import EVERYTHING, NOTHING, Action
from dtrfast.registry.records import RepositoryRecord


@dataclass(frozen=True, slots=True)
class AccountStanding:
    """The facts about an account from which rights follow, without those of a repository.

    `owned` are the ids of its namespaces: its own id, and those of organizations that it owns.
    `grantees` are the ids that grants may name: its own id, and those of its teams.
    """

    is_admin: bool = False
    account_id: int = 0
    owned: frozenset[int] = frozenset()
    grantees: tuple[int, ...] = ()


NO_STANDING = AccountStanding()
ROOT = AccountStanding(is_admin=True)


def standing_of(transaction: ReadTransaction, account: Account) -> AccountStanding:
    """Return the standing of a user, from the tables of accounts and teams."""
    memberships = teams.memberships(transaction, account.id)
    owned = {m.organization_id for m in memberships if m.is_owner}
    return AccountStanding(
        is_admin=account.is_admin,
        account_id=account.id,
        owned=frozenset({account.id, *owned}),
        grantees=(account.id, *(m.team_id for m in memberships)),
    )


def namespace_of(transaction: ReadTransaction, name: RepositoryName) -> Account | None:
    """Return the account that a repository belongs to; None if there is none.

    It is the account with the first part of the repository's name, which may be the whole name.
    """
    return accounts.find(transaction, name.owner)


@dataclass(frozen=True, slots=True)
class Subjects:
    """Repositories whose rights are computed, with their records and namespaces, read once.

    `records` has the existing repositories by name. `namespaces` has the account for each first
    part of a name, or None.
    """

    names: Sequence[RepositoryName]
    records: dict[str, RepositoryRecord]
    namespaces: dict[str, Account | None]

    @classmethod
    def read(cls, transaction: ReadTransaction, names: Sequence[RepositoryName]) -> Subjects:
        """Read what the rights on these repositories depend on. They need not exist."""
        records = repositories.records(transaction, names)
        owners = dict.fromkeys(name.owner for name in names)
        found = {owner: accounts.find(transaction, owner) for owner in owners}
        return cls(names, records, found)


def rights(transaction: ReadTransaction, standing: AccountStanding, name: RepositoryName) -> Action:
    """Return an account's rights on a repository, which need not exist."""
    return rights_each(transaction, standing, Subjects.read(transaction, [name]))[0]


def rights_each(
    transaction: ReadTransaction, standing: AccountStanding, subjects: Subjects
) -> list[Action]:
    """Return an account's rights on repositories, in the order of their names.

    Each namespace is read once. For an account in many teams, the function reads the grants of each
    repository, not those of each team.
    """
    if standing.is_admin:
        return [EVERYTHING] * len(subjects.names)
    in_namespace = {
        owner: NOTHING if account is None else rights_in_namespace(transaction, standing, account)
        for owner, account in subjects.namespaces.items()
    }
    found = []
    for name in subjects.names:
        whole = in_namespace[name.owner]
        record = subjects.records.get(name.text)
        if record is None:
            # A missing repository looks like one that the account may not read. Only administrators
            # of its namespace, which may create it, can tell the difference.
            found.append(EVERYTHING if Action.ADMIN in whole else NOTHING)
        elif whole == EVERYTHING:
            found.append(EVERYTHING)
        else:
            place = grants.repository_place(record.id)
            granted = _sum(grants.actions_at(transaction, place, standing.grantees))
            found.append(whole | granted | (Action.PULL if record.is_public else NOTHING))
    return found


def rights_in_namespace(
    transaction: ReadTransaction, standing: AccountStanding, namespace: Account
) -> Action:
    """Return an account's rights on all repositories of a namespace.

    With ADMIN it may also create and delete repositories there.
    """
    if standing.is_admin or namespace.id in standing.owned:
        return EVERYTHING
    place = grants.namespace_place(namespace.id)
    return _sum(grants.actions_at(transaction, place, standing.grantees))


def _sum(actions: Iterable[Action]) -> Action:
    return reduce(or_, actions, NOTHING)

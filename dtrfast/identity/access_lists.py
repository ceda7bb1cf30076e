"""Access lists: the grants on a repository or a namespace, as their administrators manage them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dtrfast.errors import AccessRefused, GrantUnknown
from dtrfast.identity import accounts, grants, teams
from dtrfast.identity.account_views import AccountView, TeamView, team_view_of, view_of
from dtrfast.identity.grants import GrantPlace, Level
from dtrfast.identity.standing import AccountStanding, rights, rights_in_namespace, standing_of
from dtrfast.identity.use_case import UseCase
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import listing, management, repositories
from dtrfast.registry.listing import Columns, Listing, ListRequest
from dtrfast.registry.management import RepositoryView
from dtrfast.registry.pages import BoundedScan
from dtrfast.registry.permits import NOTHING, Action


@dataclass(frozen=True, slots=True)
class Grantee:
    """A user, or a team of the organization that the place of a grant belongs to."""

    kind: Literal["user", "team"]
    name: str


@dataclass(frozen=True, slots=True)
class WholeNamespace:
    """All repositories of an organization, as the place of a grant."""

    name: str


PlaceName = RepositoryName | WholeNamespace
Holder = AccountView | TeamView


@dataclass(frozen=True, slots=True)
class AccessListEntry:
    """A grant in an access list: its level, and its user or team."""

    level: Level
    holder: Holder


@dataclass(frozen=True, slots=True)
class AccessList:
    """A page of the grants at a place, and the place as the caller sees it."""

    place: RepositoryView | AccountView
    entries: Listing[AccessListEntry]


@dataclass(frozen=True, slots=True)
class UserRights:
    """A user's rights at a place, by all grants together."""

    actions: Action
    user: AccountView
    place: RepositoryView | AccountView


def name_of(holder: Holder) -> str:
    """Return the name of the user or the team."""
    return holder.account.name if isinstance(holder, AccountView) else holder.team.name


# Grantees that are looked up together. Between batches the request looks at its time.
_BATCH_SIZE = 100
_COLUMNS: Columns[AccessListEntry] = {
    "name": lambda entry: name_of(entry.holder),
    "level": lambda entry: entry.level,
}


class AccessLists(UseCase):
    """The grants of a registry, for one caller.

    Grants on a repository are for its administrators. Grants on a namespace are for the owners of
    the organization; administrators of the namespace may read them.
    """

    def page(
        self, place: PlaceName, kind: Literal["user", "team"], request: ListRequest
    ) -> AccessList:
        """Return a page of the users or the teams that have a grant at a place."""
        with self._engine.read() as transaction:
            where = self._open(transaction, place, to_change=False)
            viewer = self._permits.standing(transaction)
            rows = dict(BoundedScan(grants.at_place(transaction, where)))
            holders = _users if kind == "user" else _teams
            numbers = list(rows)
            batches = (numbers[i : i + _BATCH_SIZE] for i in range(0, len(numbers), _BATCH_SIZE))
            entries = (
                AccessListEntry(rows[number], holder)
                for batch in batches
                for number, holder in holders(transaction, batch, viewer)
            )
            view = self._view(transaction, place)
            return AccessList(view, listing.whole(entries, request, _COLUMNS))

    def get(
        self, place: PlaceName, grantee: Grantee
    ) -> tuple[AccessListEntry, RepositoryView | AccountView]:
        """Return the grant of one grantee. Raises `GrantUnknown`."""
        with self._engine.read() as transaction:
            where = self._open(transaction, place, to_change=False)
            number, holder = self._grantee(transaction, place, grantee)
            level = grants.get(transaction, where, number)
            if level is Level.NONE:
                raise GrantUnknown(f"{grantee.kind} {grantee.name} has no grant on {_text(place)}")
            return AccessListEntry(level, holder), self._view(transaction, place)

    def grant(
        self, place: PlaceName, grantee: Grantee, level: Level
    ) -> tuple[AccessListEntry, RepositoryView | AccountView]:
        """Grant a level, in place of an earlier grant to the same grantee. `level` is not NONE.
        Raises `AccountUnknown`, `TeamUnknown`.
        """
        author = self._author()

        def change(
            transaction: WriteTransaction,
        ) -> tuple[AccessListEntry, RepositoryView | AccountView]:
            where = self._open(transaction, place, to_change=True)
            number, holder = self._grantee(transaction, place, grantee)
            grants.put(transaction, author, where, number, level)
            return AccessListEntry(level, holder), self._view(transaction, place)

        return self._engine.write(change)

    def revoke(self, place: PlaceName, grantee: Grantee) -> None:
        """Take a grant back. Raises `GrantUnknown`, `AccountUnknown`, `TeamUnknown`."""
        author = self._author()

        def change(transaction: WriteTransaction) -> None:
            where = self._open(transaction, place, to_change=True)
            number, _ = self._grantee(transaction, place, grantee)
            if not grants.remove(transaction, author, where, number):
                raise GrantUnknown(f"{grantee.kind} {grantee.name} has no grant on {_text(place)}")

        self._engine.write(change)

    def rights_of(self, place: PlaceName, user_name: str) -> UserRights:
        """Return a user's rights at a place.

        Only the user itself and administrators may call it: those of the repository, and system
        administrators. Raises `AccountUnknown`, and `AccessRefused` for other callers.

        Only callers that may see the user's state learn that it is inactive or a system
        administrator. For others, the rights leave this out.
        """
        with self._engine.read() as transaction:
            if isinstance(place, RepositoryName):
                repositories.require(transaction, self._permits, place, Action.PULL)
                user = accounts.get(transaction, user_name, "user")
                viewer = self._permits.standing(transaction)
                has_state = viewer.is_admin or viewer.account_id == user.id
                if not has_state:
                    self._permits.check(transaction, Action.ADMIN, place)
                (shown,) = management.views_of(transaction, self._permits, [place])
                theirs = standing_of(transaction, user)
                if not has_state:
                    theirs = replace(theirs, is_admin=False)
                actions = rights(transaction, theirs, place)
                if has_state and not user.is_active:
                    actions = NOTHING
                return UserRights(actions, view_of(user, viewer), shown)
            user = accounts.get(transaction, user_name, "user")
            viewer = self._permits.require_self(transaction, user)
            account = accounts.get(transaction, place.name)
            theirs = standing_of(transaction, user)
            actions = rights_in_namespace(transaction, theirs, account)
            return UserRights(actions, view_of(user, viewer), view_of(account, viewer))

    def _open(
        self, transaction: ReadTransaction, place: PlaceName, *, to_change: bool
    ) -> GrantPlace:
        """Return a place as grants name it, if the caller may read or change its grants."""
        if isinstance(place, RepositoryName):
            number = repositories.require(transaction, self._permits, place, Action.ADMIN)
            return grants.repository_place(number)
        viewer = self._permits.standing(transaction)
        account = accounts.get(transaction, place.name, "organization")
        needed = Action.PULL if to_change else Action.ADMIN
        if needed not in rights_in_namespace(transaction, viewer, account):
            raise AccessRefused(f"only administrators of {account.name} may do this")
        if to_change:
            self._permits.require_owner(transaction, account)
        return grants.namespace_place(account.id)

    def _view(self, transaction: ReadTransaction, place: PlaceName) -> RepositoryView | AccountView:
        """Return a place as the caller sees it."""
        if isinstance(place, RepositoryName):
            return management.views_of(transaction, self._permits, [place])[0]
        account = accounts.get(transaction, place.name, "organization")
        return view_of(account, self._permits.standing(transaction))

    def _grantee(
        self, transaction: ReadTransaction, place: PlaceName, grantee: Grantee
    ) -> tuple[int, Holder]:
        """Return a grantee's id, and the grantee as the caller sees it."""
        viewer = self._permits.standing(transaction)
        if grantee.kind == "user":
            user = accounts.get(transaction, grantee.name, "user")
            return user.id, view_of(user, viewer)
        owner = place.owner if isinstance(place, RepositoryName) else place.name
        organization = accounts.get(transaction, owner, "organization")
        team = teams.get(transaction, organization, grantee.name)
        return team.id, team_view_of(team, organization.id, viewer)


def _text(place: PlaceName) -> str:
    return place.text if isinstance(place, RepositoryName) else f"all of {place.name}"


def _users(
    transaction: ReadTransaction, numbers: Sequence[int], viewer: AccountStanding
) -> Iterator[tuple[int, Holder]]:
    """Yield the users with some ids, each after its id."""
    for number, user in accounts.find_ids(transaction, numbers).items():
        yield number, view_of(user, viewer)


def _teams(
    transaction: ReadTransaction, numbers: Sequence[int], viewer: AccountStanding
) -> Iterator[tuple[int, Holder]]:
    """Yield the teams with some ids, each after its id."""
    for number, (organization_id, team) in teams.find_ids(transaction, numbers).items():
        yield number, team_view_of(team, organization_id, viewer)

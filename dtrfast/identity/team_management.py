"""Teams and their members, as owners of organizations manage them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec

from dtrfast.errors import AccessRefused, SettingsInvalid, TeamUnknown
from dtrfast.identity import accounts, grants, teams
from dtrfast.identity.account_views import AccountView, TeamView, team_view_of, view_of
from dtrfast.identity.grants import Level
from dtrfast.identity.ldap.settings import check_attribute, check_dn
from dtrfast.identity.names import TeamName
from dtrfast.identity.records import Account, Team, TeamType
from dtrfast.identity.standing import AccountStanding
from dtrfast.identity.teams import NewTeam
from dtrfast.identity.use_case import UseCase
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.registry import listing, management, repositories
from dtrfast.registry.listing import Columns, Listing, ListRequest
from dtrfast.registry.management import RepositoryView
from dtrfast.registry.pages import BoundedScan

_MEMBER_ATTRIBUTE = "member"
# Grants of a team that are looked up together.
_BATCH_SIZE = 50


@dataclass(frozen=True, slots=True)
class TeamChange:
    """The fields of a team to change. None: the field stays as it is."""

    name: str | None = None
    description: str | None = None
    type: TeamType | None = None
    group_dn: str | None = None
    member_attribute: str | None = None


@dataclass(frozen=True, slots=True)
class TeamGrant:
    """A grant of a team on a repository, which the caller may see."""

    level: Level
    repository: RepositoryView


@dataclass(frozen=True, slots=True)
class Member:
    """A user in a team or an organization. `is_owner`: of the organization."""

    user: AccountView
    is_owner: bool = False


@dataclass(frozen=True, slots=True)
class OrganizationMember:
    """A user in an organization, with the names of its teams there."""

    user: AccountView
    teams: list[str]


_GRANTS: Columns[TeamGrant] = {
    "name": lambda grant: grant.repository.name.text,
    "level": lambda grant: grant.level,
}


class TeamManagement(UseCase):
    """The teams of organizations, for one caller.

    Members of an organization may see its teams and members. Owners and system administrators may
    change them. Methods raise `AccountUnknown`, `TeamUnknown` and `AccessRefused`. Those that
    change something also raise `Conflict`.
    """

    # ---- teams -------------------------------------------------------------------------------
    def page(self, organization_name: str, request: ListRequest) -> Listing[TeamView]:
        """Return a page of the teams of an organization."""
        with self._engine.read() as transaction:
            organization, viewer = self._seen(transaction, organization_name)
            found = teams.scan(transaction, organization, request.first)
            page = listing.by_name(found, request, {"name": lambda team: team.name})
        return page.map(lambda team: team_view_of(team, organization.id, viewer))

    def get(self, organization_name: str, name: str) -> TeamView:
        """Return a team."""
        with self._engine.read() as transaction:
            organization, viewer = self._seen(transaction, organization_name)
            team = teams.get(transaction, organization, name)
            return team_view_of(team, organization.id, viewer)

    def create(self, organization_name: str, new: NewTeam) -> TeamView:
        """Create a team without members. An empty `member_attribute` stands for `member`.

        Raises `SettingsInvalid`.
        """
        new = replace(new, member_attribute=new.member_attribute or _MEMBER_ATTRIBUTE)
        _check_group(new.type, new.group_dn, new.member_attribute)
        author = self._author()

        def change(transaction: WriteTransaction) -> TeamView:
            organization, viewer = self._owned(transaction, organization_name)
            team = teams.create(transaction, author, organization, new)
            return team_view_of(team, organization.id, viewer)

        return self._engine.write(change)

    def update(self, organization_name: str, name: str, change: TeamChange) -> TeamView:
        """Change a team. Raises `SettingsInvalid`, `AccountInvalid`."""
        author = self._author()
        fields = {
            field: value
            for field in change.__dataclass_fields__
            if (value := getattr(change, field)) is not None
        }

        def apply(transaction: WriteTransaction) -> TeamView:
            organization, viewer = self._owned(transaction, organization_name)
            if change.name is not None:
                TeamName.parse(change.name)
            old = teams.get(transaction, organization, name)
            new = msgspec.structs.replace(old, **fields)
            if not new.member_attribute:
                new = msgspec.structs.replace(new, member_attribute=_MEMBER_ATTRIBUTE)
            _check_group(new.type, new.group_dn, new.member_attribute)
            teams.put(transaction, author, organization, old, new)
            return team_view_of(new, organization.id, viewer)

        return self._engine.write(apply)

    def delete(self, organization_name: str, name: str) -> None:
        """Delete a team with its grants."""
        author = self._author()

        def change(transaction: WriteTransaction) -> None:
            organization, _ = self._owned(transaction, organization_name)
            team = teams.get(transaction, organization, name)
            teams.delete(transaction, author, organization, team)

        self._engine.write(change)

    def grants_of(
        self, organization_name: str, name: str, request: ListRequest
    ) -> tuple[TeamView, Listing[TeamGrant]]:
        """Return a page of a team's grants on repositories that the caller may see."""
        with self._engine.read() as transaction:
            organization, viewer = self._seen(transaction, organization_name)
            team = teams.get(transaction, organization, name)
            page = listing.whole(self._grants(transaction, team), request, _GRANTS)
            return team_view_of(team, organization.id, viewer), page

    def _grants(self, transaction: ReadTransaction, team: Team) -> Iterator[TeamGrant]:
        """Yield a team's grants on repositories that the caller may see."""
        levels = {}
        for place, level in BoundedScan(grants.of_grantee(transaction, team.id)):
            if not grants.is_namespace(place):
                name = repositories.name_of(transaction, place.id)
                if name is not None:
                    levels[name] = level
        names = list(levels)
        for start in range(0, len(names), _BATCH_SIZE):
            batch = names[start : start + _BATCH_SIZE]
            for view in management.views_of(transaction, self._permits, batch):
                if view.allowed:
                    yield TeamGrant(levels[view.name], view)

    # ---- members of an organization ------------------------------------------------------------
    def members(self, organization_name: str, request: ListRequest) -> Listing[OrganizationMember]:
        """Return a page of the members of an organization, each with the names of its teams."""
        with self._engine.read() as transaction:
            organization, viewer = self._seen(transaction, organization_name)
            found = teams.members_of_organization(transaction, organization, request.first)
            page = listing.by_name(found, request, {"name": lambda row: row[0]})
            users = accounts.find_ids(transaction, [number for _, number in page.entries])
            inside = {number: _team_ids(transaction, organization, number) for number in users}
            known = teams.find_ids(transaction, {i for ids in inside.values() for i in ids})
            entries = [
                OrganizationMember(
                    view_of(user, viewer),
                    sorted(known[i][1].name for i in inside[number] if i in known),
                )
                for number, user in users.items()
            ]
            return Listing(entries, page.next_start, page.is_exact)

    def member(self, organization_name: str, user_name: str) -> Member:
        """Return a user of an organization."""
        with self._engine.read() as transaction:
            organization, viewer = self._seen(transaction, organization_name)
            user = _user_in(transaction, organization, user_name)
            found = teams.memberships(transaction, user.id)
            is_owner = any(m.is_owner and m.organization_id == organization.id for m in found)
            return Member(view_of(user, viewer), is_owner)

    def teams_of_member(self, organization_name: str, user_name: str) -> list[TeamView]:
        """Return the teams of an organization that a user is in."""
        with self._engine.read() as transaction:
            organization, viewer = self._seen(transaction, organization_name)
            user = _user_in(transaction, organization, user_name)
            found = teams.find_ids(transaction, _team_ids(transaction, organization, user.id))
            return [team_view_of(team, organization.id, viewer) for _, team in found.values()]

    def remove_from_organization(self, organization_name: str, user_name: str) -> None:
        """Remove a user from all teams of an organization."""
        author = self._author()

        def change(transaction: WriteTransaction) -> None:
            organization, _ = self._owned(transaction, organization_name)
            user = _user_in(transaction, organization, user_name)
            teams.leave_all(transaction, author, user, organization.id)

        self._engine.write(change)

    # ---- members of a team ---------------------------------------------------------------------
    def members_of_team(
        self, organization_name: str, team_name: str, request: ListRequest
    ) -> Listing[AccountView]:
        """Return a page of the members of a team."""
        with self._engine.read() as transaction:
            organization, viewer = self._seen(transaction, organization_name)
            team = teams.get(transaction, organization, team_name)
            found = teams.members(transaction, team, request.first)
            page = listing.by_name(found, request, {"name": lambda row: row[0]})
            users = accounts.find_ids(transaction, [number for _, number in page.entries])
            entries = [view_of(user, viewer) for user in users.values()]
            return Listing(entries, page.next_start, page.is_exact)

    def member_of_team(self, organization_name: str, team_name: str, user_name: str) -> Member:
        """Return a member of a team."""
        with self._engine.read() as transaction:
            organization, viewer = self._seen(transaction, organization_name)
            team = teams.get(transaction, organization, team_name)
            user = accounts.get(transaction, user_name, "user")
            if not teams.is_member(transaction, team, user):
                raise TeamUnknown(f"{user.name} is not in the team {team.name}")
            return Member(view_of(user, viewer), team.name == teams.OWNERS)

    def add_to_team(self, organization_name: str, team_name: str, user_name: str) -> Member:
        """Add a user to a team, and so to its organization."""
        author = self._author()

        def change(transaction: WriteTransaction) -> Member:
            organization, viewer = self._owned(transaction, organization_name)
            team = teams.get(transaction, organization, team_name)
            teams.check_managed(team)
            user = accounts.get(transaction, user_name, "user")
            teams.add_member(transaction, author, organization, team, user)
            return Member(view_of(user, viewer), team.name == teams.OWNERS)

        return self._engine.write(change)

    def remove_from_team(self, organization_name: str, team_name: str, user_name: str) -> None:
        """Remove a user from a team."""
        author = self._author()

        def change(transaction: WriteTransaction) -> None:
            organization, _ = self._owned(transaction, organization_name)
            team = teams.get(transaction, organization, team_name)
            teams.check_managed(team)
            user = accounts.get(transaction, user_name, "user")
            if not teams.remove_member(transaction, author, organization, team, user):
                raise TeamUnknown(f"{user.name} is not in the team {team.name}")

        self._engine.write(change)

    def _seen(self, transaction: ReadTransaction, name: str) -> tuple[Account, AccountStanding]:
        """Return an organization whose teams the caller may see, and the caller's standing."""
        organization = accounts.get(transaction, name, "organization")
        viewer = self._permits.standing(transaction)
        user = accounts.find_id(transaction, viewer.account_id)
        is_inside = user is not None and teams.is_in_organization(transaction, organization, user)
        if not viewer.is_admin and not is_inside:
            raise AccessRefused(f"only members of {organization.name} may see this")
        return organization, viewer

    def _owned(self, transaction: ReadTransaction, name: str) -> tuple[Account, AccountStanding]:
        """Return an organization that the caller may change, and the caller's standing."""
        organization = accounts.get(transaction, name, "organization")
        return organization, self._permits.require_owner(transaction, organization)


def _user_in(transaction: ReadTransaction, organization: Account, user_name: str) -> Account:
    """Return a user. Raises `TeamUnknown` if the user is in no team of the organization."""
    user = accounts.get(transaction, user_name, "user")
    if not teams.is_in_organization(transaction, organization, user):
        raise TeamUnknown(f"{user.name} is in no team of {organization.name}")
    return user


def _team_ids(transaction: ReadTransaction, organization: Account, user_id: int) -> list[int]:
    """Return the ids of a user's teams in an organization."""
    return [
        membership.team_id
        for membership in teams.memberships(transaction, user_id)
        if membership.organization_id == organization.id
    ]


def _check_group(kind: TeamType, dn: str, attribute: str) -> None:
    """Raise `SettingsInvalid` if a team of type `ldap` has no valid group."""
    if kind == "ldap":
        if not dn:
            raise SettingsInvalid("ldapDN: a team of type ldap needs the name of its group")
        check_dn(dn, "ldapDN")
        check_attribute("ldapGroupMemberAttribute", attribute)

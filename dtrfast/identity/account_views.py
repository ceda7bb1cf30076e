"""Accounts and teams as one caller sees them."""

from __future__ import annotations

from dataclasses import dataclass

from dtrfast.identity.records import Account, Team
from dtrfast.identity.standing import AccountStanding


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account as one caller sees it.

    `has_state`: the caller may see two facts about a user, that it is active and that it is a
    system administrator. Only system administrators and the user itself may.
    """

    account: Account
    has_state: bool


@dataclass(frozen=True, slots=True)
class TeamView:
    """A team as one caller sees it. `has_caller`: the caller is a member."""

    team: Team
    organization_id: int
    has_caller: bool


def view_of(account: Account, viewer: AccountStanding) -> AccountView:
    """Return an account as a viewer sees it."""
    is_own = viewer.account_id == account.id
    return AccountView(account, viewer.is_admin or is_own or not account.is_user)


def team_view_of(team: Team, organization_id: int, viewer: AccountStanding) -> TeamView:
    """Return a team as a viewer sees it."""
    return TeamView(team, organization_id, team.id in viewer.grantees)

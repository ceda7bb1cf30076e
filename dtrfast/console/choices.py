"""Names that a form suggests while the user types.

A form suggests the first names that the user may list. Other names have to be typed in full.
"""

from __future__ import annotations

from dtrfast.api.v0 import accounts, repositories, teams
from dtrfast.console.page import PageRequest

# As many as a user may scroll through. Reading these names takes about a millisecond.
_NAMES_MAX = 200


def users(page: PageRequest) -> list[str]:
    """Return names of users."""
    query = {"type": "user", "limit": _NAMES_MAX}
    found = page.glance(accounts.list_accounts, query=query)
    return [account.name for account in (found.accounts if found else ())]


def teams_of(page: PageRequest, organization: str) -> list[str]:
    """Return names of an organization's teams."""
    found = page.glance(teams.list_teams, query={"limit": _NAMES_MAX}, name=organization)
    return [team.name for team in (found.teams if found else ())]


def repositories_of(page: PageRequest, namespace: str) -> list[str]:
    """Return names of repositories in a namespace, without the namespace."""
    query = {"limit": _NAMES_MAX}
    found = page.glance(
        repositories.list_repositories_of_namespace, query=query, namespace=namespace
    )
    known = found.repositories if found else ()
    return [repository.name for repository in known if repository.namespace]

"""What forms offer while somebody types: names, as far as they fit into a list.

Whoever has more types the whole name. Nobody is offered what they may not list.
"""

from __future__ import annotations

from dtrfast.api.v0 import accounts, repositories, teams
from dtrfast.console.page import Page

# A list that one scrolls; the first page of a list of names costs a millisecond.
_NAMES_MAX = 200


def users(page: Page) -> list[str]:
    query = {"type": "user", "limit": _NAMES_MAX}
    found = page.glance(accounts.list_accounts, query=query)
    return [account.name for account in (found.accounts if found else ())]


def teams_of(page: Page, organization: str) -> list[str]:
    found = page.glance(teams.list_teams, query={"limit": _NAMES_MAX}, name=organization)
    return [team.name for team in (found.teams if found else ())]


def repositories_of(page: Page, namespace: str) -> list[str]:
    """Names below the namespace, without it."""
    query = {"limit": _NAMES_MAX}
    found = page.glance(
        repositories.list_repositories_of_namespace, query=query, namespace=namespace
    )
    known = found.repositories if found else ()
    return [repository.name for repository in known if repository.namespace]

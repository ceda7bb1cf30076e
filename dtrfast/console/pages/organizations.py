"""Organizations: the list, and an organization's repositories, teams, members and robots."""

from __future__ import annotations

from typing import Any

from dtrfast.api.v0 import (
    accounts,
    credentials,
    grants,
    ldap,
    repositories,
    sessions,
    storage,
    teams,
)
from dtrfast.console import choices
from dtrfast.console.page import PageFunction, PageRequest, View
from dtrfast.console.repository_names import full_name
from dtrfast.errors import AccountUnknown


def show_list(page: PageRequest) -> View:
    """List the organizations, with the user's role in each."""
    listing = page.listing()
    found = page.ask(accounts.list_accounts, query={"type": "organization", **listing.query()})
    session = page.glance(sessions.get_session)
    return View(
        "organizations.html",
        {
            "rows": found.accounts,
            "roles": {} if session is None else roles_of(page, session.account.name),
            "listing": listing,
            "next_start": found.next_page_start,
        },
    )


def roles_of(page: PageRequest, user: str) -> dict[str, str]:
    """Return the organizations of a user, with the user's role in each."""
    roles: dict[str, str] = {}
    for role, query in (("member", {}), ("owner", {"owned": "true"})):
        own = page.glance(accounts.list_organizations, query=query, name=user)
        roles |= {one.name: role for one in (own.organizations if own else ())}
    return roles


def _base(page: PageRequest, tab: str) -> dict[str, Any]:
    name = page.path["name"]
    organization = page.ask(accounts.get_account, name=name)
    if organization.type != "organization":
        raise AccountUnknown(f"there is no organization {name}")
    session = page.glance(sessions.get_session)
    user = None if session is None else session.account
    member = user and page.glance(accounts.get_member, name=name, member=user.name)
    is_admin = page.caller.kind == "system" or (user is not None and user.is_admin)
    is_owner = is_admin or bool(member and member.is_owner)
    return {
        "name": name,
        "organization": organization,
        "tab": tab,
        "is_member": is_admin or member is not None,
        "may_create": is_owner,
        # Without accounts there are no users for teams.
        "may_administer": is_owner and page.client.config.auth.mode == "managed",
    }


def show(page: PageRequest) -> View:
    """List the organization's repositories that the user may see."""
    values = _base(page, "repositories")
    listing = page.listing()
    found = page.ask(
        repositories.list_repositories_of_namespace,
        query=listing.query(),
        namespace=values["name"],
    )
    rows = [(full_name(one), one) for one in found.repositories]
    return View(
        "organization/repositories.html",
        {**values, "rows": rows, "listing": listing, "next_start": found.next_page_start},
    )


def show_teams(page: PageRequest) -> View:
    values = _base(page, "teams")
    listing = page.listing()
    found = page.ask(teams.list_teams, query=listing.query(), name=values["name"])
    return View(
        "organization/teams.html",
        {
            **values,
            "teams": found.teams,
            "listing": listing,
            "next_start": found.next_page_start,
        },
    )


def show_members(page: PageRequest) -> View:
    values = _base(page, "members")
    listing = page.listing()
    found = page.ask(accounts.list_members, query=listing.query(), name=values["name"])
    may_choose = values["may_administer"]
    return View(
        "organization/members.html",
        {
            **values,
            "rows": found.members,
            "listing": listing,
            "next_start": found.next_page_start,
            "users": choices.users(page) if may_choose else [],
            "teams": choices.teams_of(page, values["name"]) if may_choose else [],
        },
    )


def show_robots(page: PageRequest) -> View:
    values = _base(page, "robots")
    listing = page.listing("created")
    found = page.ask(credentials.list_robots, query=listing.query(), name=values["name"])
    return View(
        "organization/robots.html",
        {
            **values,
            "robots": found.credentials,
            "listing": listing,
            "next_start": found.next_page_start,
        },
    )


def show_settings(page: PageRequest) -> View:
    values = _base(page, "settings")
    if not values["may_administer"]:
        raise page.refused(f"only owners of {values['name']} may change its settings")
    return View("organization/settings.html", values)


def show_usage(page: PageRequest) -> View:
    """Measure and show the disk usage: a part of a page for scripts, else a page of its own."""
    usage = page.ask(storage.get_namespace_usage, namespace=page.path["name"])
    if page.is_fragment:
        return View("fragments/usage.html", {"usage": usage})
    return View("organization/usage.html", {**_base(page, "repositories"), "usage": usage})


def show_team(page: PageRequest) -> View:
    """Show a team's members and its access."""
    values = _base(page, "teams")
    place = {"name": values["name"], "team": page.path["team"]}
    team = page.ask(teams.get_team, **place)
    listing, granted = page.listing(), page.listing(of="access-")
    members = page.ask(teams.list_team_members, query=listing.query(), **place)
    access = page.ask(teams.list_team_repository_access, query=granted.query(), **place)
    whole = page.glance(grants.get_namespace_team_access, namespace=values["name"], team=team.name)
    may_choose = values["may_administer"]
    return View(
        "organization/team.html",
        {
            **values,
            "team": team,
            "users": choices.users(page) if may_choose else [],
            "repositories": choices.repositories_of(page, values["name"]) if may_choose else [],
            "last_sync": page.glance(ldap.get_last_sync) if team.type == "ldap" else None,
            "members": members.members,
            "listing": listing,
            "access_listing": granted,
            "access_start": access.next_page_start,
            "next_start": members.next_page_start,
            "access": [(full_name(one.repository), one) for one in access.repository_access_list],
            "whole": "none" if whole is None else whole.access_level,
        },
    )


_BASE = "/organizations/{name}"
PAGES: dict[str, PageFunction] = {
    "/organizations": show_list,
    _BASE: show,
    f"{_BASE}/teams": show_teams,
    f"{_BASE}/teams/{{team}}": show_team,
    f"{_BASE}/members": show_members,
    f"{_BASE}/robots": show_robots,
    f"{_BASE}/settings": show_settings,
    f"{_BASE}/usage": show_usage,
}

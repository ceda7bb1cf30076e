"""The start page: the dashboard, the first steps, or the repositories of the user."""

from __future__ import annotations

from itertools import islice
from typing import Any

from dtrfast.api.v0 import objects, repositories, sessions, storage
from dtrfast.console.page import PageRequest, View
from dtrfast.console.pages import welcome
from dtrfast.console.pages.organizations import roles_of
from dtrfast.console.pages.repositories import namespaces
from dtrfast.console.repository_names import full_name

# As many as a screen has room for. The lists behind them have all.
_ROWS = 10
_ORGANIZATIONS_MAX = 50


def show(page: PageRequest) -> View:
    """Show a user's repositories and organizations, or lead to the page of another role.

    Administrators go to the dashboard; visitors to the public repositories, or to the sign-in if
    there are none. A registry without an image, and a user without a repository, begin with the
    first steps.
    """
    session = page.glance(sessions.get_session)
    if page.caller.kind == "system" or (session is not None and session.account.is_admin):
        is_new = _is_empty(page) and not welcome.is_dismissed(page)
        return View(location="/welcome" if is_new else "/dashboard")
    if session is None:
        return View(location="/repositories" if _sees_any(page) else "/sign-in")
    values = _of_user(page, session.account)
    has_something = values["rows"] or values["shared"] or values["roles"]
    if not has_something and not page.lists and not welcome.is_dismissed(page):
        return View(location="/welcome")
    return View("home.html", values)


def _is_empty(page: PageRequest) -> bool:
    """Return True for a registry without a repository, or without a tag."""
    state = page.glance(storage.get_storage)
    return (state is not None and state.tags == 0) or not _sees_any(page)


def _sees_any(page: PageRequest) -> bool:
    """Return False if there is no repository that the caller may see."""
    found = page.glance(repositories.list_repositories, query={"limit": 1})
    return found is None or bool(found.repositories or found.next_page_start)


def _of_user(page: PageRequest, user: objects.Account) -> dict[str, Any]:
    """Return the newest repositories of a user, those of others, and the organizations."""
    own, others = page.listing("-created"), page.listing("-created", of="shared-")
    query = {**own.query(_ROWS), "owned": "true"}
    mine = page.ask(repositories.list_repositories, query=query)
    shared = page.ask(
        repositories.list_shared_repositories, query=others.query(_ROWS), name=user.name
    )
    return {
        "rows": [(full_name(one), one) for one in mine.repositories],
        "listing": own,
        "next_start": mine.next_page_start,
        "shared": [(full_name(one), one) for one in shared.repositories],
        "shared_listing": others,
        "shared_start": shared.next_page_start,
        "roles": dict(islice(roles_of(page, user.name).items(), _ORGANIZATIONS_MAX)),
        "namespaces": namespaces(page),
    }

"""Users: the list for administrators, and a user's own pages."""

from __future__ import annotations

from typing import Any

from dtrfast.api.v0 import accounts, credentials, repositories, sessions
from dtrfast.console.page import PageFunction, PageRequest, View
from dtrfast.console.repository_names import full_name
from dtrfast.errors import AccountUnknown

# As many as one form ends.
_SESSIONS_ENDED_MAX = 200


def show_list(page: PageRequest) -> View:
    """List all users, or those of one source."""
    listing = page.listing()
    source = page.query.get("source", "")
    source = source if source in ("ldap", "local") else ""
    query = {"type": "user", "source": source, **listing.query()}
    found = page.ask(accounts.list_accounts, query=query)
    return View(
        "users.html",
        {
            "rows": found.accounts,
            "source": source,
            "listing": listing,
            "next_start": found.next_page_start,
        },
    )


def _base(page: PageRequest, tab: str) -> dict[str, Any]:
    name = page.path["name"]
    account = page.ask(accounts.get_account, name=name)
    if account.type != "user":
        raise AccountUnknown(f"there is no user {name}")
    session = page.glance(sessions.get_session)
    return {
        "name": name,
        "account": account,
        "tab": tab,
        "is_self": session is not None and session.account.name == account.name,
    }


def show(page: PageRequest) -> View:
    """Show a user's account and organizations."""
    values = _base(page, "account")
    found = page.glance(accounts.list_organizations, name=values["name"])
    return View(
        "user/account.html", {**values, "organizations": found.organizations if found else None}
    )


def show_repositories(page: PageRequest) -> View:
    values = _base(page, "repositories")
    own, others = page.listing(), page.listing(of="shared-")
    found = page.ask(
        repositories.list_repositories_of_namespace, query=own.query(), namespace=values["name"]
    )
    shared = page.glance(
        repositories.list_shared_repositories, query=others.query(), name=values["name"]
    )
    session = page.glance(sessions.get_session)
    is_admin = session is not None and session.account.is_admin
    # An administrator's own access is always `admin`, so the page shows the access of that user.
    whose = f"Access of {values['name']}" if is_admin and not values["is_self"] else "Your access"
    return View(
        "user/repositories.html",
        {
            **values,
            "whose": whose,
            "rows": [(full_name(one), one) for one in found.repositories],
            "shared": [(full_name(one), one) for one in (shared.repositories if shared else ())],
            "listing": own,
            "next_start": found.next_page_start,
            "shared_listing": others,
            "shared_start": shared.next_page_start if shared else "",
        },
    )


def show_tokens(page: PageRequest) -> View:
    values = _base(page, "tokens")
    listing = page.listing("created")
    found = page.ask(credentials.list_tokens, query=listing.query(), name=values["name"])
    return View(
        "user/tokens.html",
        {
            **values,
            "tokens": found.credentials,
            "listing": listing,
            "next_start": found.next_page_start,
        },
    )


def show_sessions(page: PageRequest) -> View:
    values = _base(page, "sessions")
    listing = page.listing("-created")
    found = page.ask(sessions.list_sessions, query=listing.query(), name=values["name"])
    every = page.ask(
        sessions.list_sessions, query={"limit": _SESSIONS_ENDED_MAX}, name=values["name"]
    )
    return View(
        "user/sessions.html",
        {
            **values,
            "others": [one.id for one in every.sessions if not one.is_current],
            "sessions": found.sessions,
            "listing": listing,
            "next_start": found.next_page_start,
        },
    )


_BASE = "/users/{name}"
PAGES: dict[str, PageFunction] = {
    "/users": show_list,
    _BASE: show,
    f"{_BASE}/repositories": show_repositories,
    f"{_BASE}/tokens": show_tokens,
    f"{_BASE}/sessions": show_sessions,
}

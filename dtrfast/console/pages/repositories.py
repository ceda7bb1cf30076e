"""Repositories: the list, and a repository's own pages."""

from __future__ import annotations

from typing import Any, Literal

from dtrfast.api.v0 import (
    accounts,
    administration,
    credentials,
    grants,
    images,
    objects,
    repositories,
    sessions,
    storage,
    storage_objects,
    trash,
)
from dtrfast.api.v0.views import ROOT
from dtrfast.console import choices
from dtrfast.console.page import PAGE_SIZE, Page, PageFunction, View
from dtrfast.errors import SignInRequired
from dtrfast.oci.names import RepositoryName

_LEVELS = {"push": "read-write", "admin": "admin"}
# What a form offers to choose from; whoever has more types the name.
_NAMESPACES_MAX = 200


def pieces(name: str) -> dict[str, Any]:
    """A repository's name as the pieces of an operation's path."""
    owner, slash, rest = name.partition("/")
    return (
        {"namespace": owner, "repository": rest}
        if slash
        else {
            "namespace": ROOT,
            "repository": owner,
        }
    )


def full_name(repository: objects.Repository) -> str:
    return f"{repository.namespace}/{repository.name}".lstrip("/")


# ---- the list ----------------------------------------------------------------------------------
def show_list(page: Page) -> View:
    """All that one may see, one's own, or what others shared."""
    tab = page.query.get("tab", "all")
    if tab != "all" and page.caller.kind != "system":
        page.ask(sessions.get_session)  # whose they are has to be known
    session = page.glance(sessions.get_session)
    listing = page.listing()
    query = listing.query()
    if tab == "shared" and session is not None:
        found = page.ask(
            repositories.list_shared_repositories, query=query, name=session.account.name
        )
    else:
        if tab == "mine":
            query["owned"] = "true"
        found = page.ask(repositories.list_repositories, query=query)
    return View(
        "repositories.html",
        {
            "tab": tab,
            "listing": listing,
            "rows": [(full_name(one), one) for one in found.repositories],
            "next_start": found.next_page_start,
            "is_exact": found.is_exact,
            "namespaces": _namespaces(page),
        },
    )


def _namespaces(page: Page) -> list[str]:
    """Where the user may make repositories."""
    session = page.glance(sessions.get_session)
    if session is None:
        return [ROOT] if page.caller.kind == "system" else []
    name = session.account.name
    if session.account.is_admin:
        every = page.glance(accounts.list_accounts, query={"limit": _NAMESPACES_MAX})
        return [name, *(a.name for a in (every.accounts if every else ()) if a.name != name), ROOT]
    owned = page.glance(accounts.list_organizations, query={"owned": "true"}, name=name)
    return [name, *(one.name for one in (owned.organizations if owned else ()))]


# ---- one repository ----------------------------------------------------------------------------
def base(
    page: Page, tab: str, needs: Literal["", "push", "admin"] = "", *, rendered: bool = False
) -> dict[str, Any]:
    """What all pages of a repository show. A page of forms `needs` what those need. Raises
    `RepositoryUnknown`, `SignInRequired`, `Denied`.
    """
    name = page.path["name"]
    query = {"rendered": "true"} if rendered else {}
    repository = page.ask(repositories.get_repository, query=query, **pieces(name))
    level = repository.access_level
    enough = {"": True, "push": level in ("read-write", "admin"), "admin": level == "admin"}
    if not enough[needs]:
        if not page.is_signed_in:
            raise SignInRequired("sign in to change this repository")
        message = f"you need {_LEVELS[needs]} access to {name} to see this page"
        raise page.refused(message, subject=name)
    return {
        "name": name,
        "pieces": pieces(name),
        "repository": repository,
        "tab": tab,
        "may_push": level in ("read-write", "admin"),
        "may_administer": level == "admin",
        # The account that it belongs to; empty for the registry's own.
        "owner": RepositoryName(name).owner if repository.namespace_type else "",
    }


def show_info(page: Page) -> View:
    values = base(page, "info", rendered=True)
    newest = page.ask(images.list_images, query={"limit": 5, "sort": "-pushed"}, **values["pieces"])
    return View("repository/info.html", {**values, "newest": newest.images})


def show_usage(page: Page) -> View:
    """How much room it takes; measured when somebody looks."""
    values = base(page, "info")
    usage = page.ask(storage.get_repository_usage, **values["pieces"])
    return usage_view(page, values, usage)


def usage_view(
    page: Page, values: dict[str, Any], usage: storage_objects.Usage, reference: str = ""
) -> View:
    """A part of the page that asked for it; a page of its own where there are no scripts."""
    template = "fragments/usage.html" if page.is_fragment else "repository/usage.html"
    return View(template, {**values, "usage": usage, "reference": reference})


def show_tags(page: Page) -> View:
    values = base(page, "tags")
    listing = page.listing("-pushed")
    found = page.ask(images.list_images, query=listing.query(), **values["pieces"])
    return View(
        "repository/tags.html",
        {**values, "listing": listing, "found": found, "next_start": found.next_page_start},
    )


def show_permissions(page: Page) -> View:
    values = base(page, "permissions", needs="admin")
    of_people, of_teams = page.listing(of="users-"), page.listing(of="teams-")
    of_trusts = page.listing(of="trusts-")
    people = page.ask(grants.list_user_access, query=of_people.query(), **values["pieces"])
    groups = page.ask(grants.list_team_access, query=of_teams.query(), **values["pieces"])
    owner = values["owner"]
    of_owner = values["repository"].namespace_type == "organization"
    trusts = page.glance(credentials.list_trusts, query=of_trusts.query(), **values["pieces"])
    return View(
        "repository/permissions.html",
        {
            **values,
            "people": people.user_access_list,
            "people_listing": of_people,
            "people_start": people.next_page_start,
            "groups": groups.team_access_list,
            "groups_listing": of_teams,
            "groups_start": groups.next_page_start,
            "trusts_listing": of_trusts,
            "trusts_start": trusts.next_page_start if trusts else "",
            "users": choices.users(page),
            "teams": choices.teams_of(page, owner) if of_owner else [],
            "trusts": trusts.trusts if trusts else [],
        },
    )


# What can be chosen to see, and the kinds of events that it is.
_KINDS = (
    ("", "Everything"),
    ("push", "Pushes"),
    ("delete", "Deletes"),
    ("tag.restore,manifest.restore", "Restores"),
    ("repository.", "Settings"),
    ("grant.,trust.", "Access"),
    ("refusal", "Refusals"),
)


def show_activity(page: Page) -> View:
    values = base(page, "activity", needs="admin")
    listing = page.listing("")
    query = {
        "start": listing.start,
        "limit": PAGE_SIZE,
        "actor": page.query.get("actor", ""),
        "kind": page.query.get("kind", ""),
    }
    found = page.ask(administration.list_repository_events, query=query, **values["pieces"])
    return View(
        "repository/activity.html",
        {
            **values,
            "events": found.events,
            "kinds": _KINDS,
            "listing": listing,
            "next_start": found.next_page_start,
        },
    )


def show_settings(page: Page) -> View:
    return View("repository/settings.html", base(page, "settings", needs="admin"))


def show_trash(page: Page) -> View:
    values = base(page, "trash", needs="push")
    listing = page.listing("-deleted")
    kind = "tags" if page.query.get("kind") == "tags" else "manifests"
    query = {"kind": kind, **listing.query()}
    found = page.ask(trash.get_repository_trash, query=query, **values["pieces"])
    return View(
        "repository/trash.html",
        {
            **values,
            "found": found,
            "kind": kind,
            "listing": listing,
            "next_start": found.next_page_start,
        },
    )


def confirm_delete(page: Page) -> View:
    """What a delete would free, before it is done."""
    values = base(page, "settings", needs="admin")
    usage = page.ask(storage.get_repository_usage, **values["pieces"])
    return View("repository/delete.html", {**values, "usage": usage})


def show_all_trash(page: Page) -> View:
    """Deleted repositories that can be restored."""
    listing = page.listing("-deleted")
    found = page.ask(trash.list_trashed_repositories, query=listing.query())
    return View(
        "trash.html",
        {"rows": found.repositories, "listing": listing, "next_start": found.next_page_start},
    )


_BASE = "/repositories/{name:path}"
PAGES: dict[str, PageFunction] = {
    "/repositories": show_list,
    "/trash": show_all_trash,
    f"{_BASE}/-/usage": show_usage,
    f"{_BASE}/-/tags": show_tags,
    f"{_BASE}/-/permissions": show_permissions,
    f"{_BASE}/-/activity": show_activity,
    f"{_BASE}/-/settings": show_settings,
    f"{_BASE}/-/trash": show_trash,
    f"{_BASE}/-/delete": confirm_delete,
}
# Behind all others: a name may be followed by nothing.
LAST: dict[str, PageFunction] = {_BASE: show_info}

"""Repositories: the list, and the pages of one repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from dtrfast.api.v0 import (
    accounts,
    administration,
    credentials,
    grants,
    image_objects,
    images,
    repositories,
    sessions,
    storage,
    storage_objects,
    trash,
)
from dtrfast.console import choices, fields, pulling
from dtrfast.console.page import PAGE_SIZE, PageFunction, PageRequest, View
from dtrfast.console.repository_names import full_name, pieces
from dtrfast.errors import SignInRequired
from dtrfast.oci.names import ROOT, RepositoryName

# Fields of a repository that have a place of their own on its pages; "About" has all others.
_SHOWN_FIELDS = frozenset(
    {
        "id",
        "namespace",
        "namespace_type",
        "name",
        "short_description",
        "long_description",
        "long_description_html",
        "visibility",
        "status",
        "created_at",
        "access_level",
    }
)
_LEVELS = {"push": "read-write", "admin": "admin"}
# Tags on the first page of a repository.
_NEWEST_TAGS = 5
_LATEST = "latest"
# Kinds that a pull command names only if nothing else is there.
_SELDOM_PULLED = ("signature", "SBOM", "attestation", "vulnerability report", "build cache")
# As many as a form suggests; other names have to be typed in full.
_NAMESPACES_MAX = 200


# ---- the list ----------------------------------------------------------------------------------
def show_list(page: PageRequest) -> View:
    """List repositories: all that the user may see, their own, or those shared with them."""
    tab = page.query.get("tab", "all")
    is_of_user = tab != "all" or page.query.get("new")
    if is_of_user and page.caller.kind != "system":
        page.ask(sessions.get_session)  # raises without a sign-in
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
            "namespaces": namespaces(page),
        },
    )


def namespaces(page: PageRequest) -> list[str]:
    """Return the namespaces in which the user may create repositories."""
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
    page: PageRequest, tab: str, needs: Literal["", "push", "admin"] = "", *, rendered: bool = False
) -> dict[str, Any]:
    """Return the values that all pages of a repository need.

    `needs` is the access that the page requires; "" is any. With `rendered` the repository has its
    README as HTML. Raises `RepositoryUnknown`, `SignInRequired`, `AccessRefused`.
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
        # The account that owns the repository; empty for repositories of the registry.
        "owner": RepositoryName(name).owner if repository.namespace_type else "",
    }


def show_info(page: PageRequest) -> View:
    values = base(page, "info", rendered=True)
    query = {"limit": _NEWEST_TAGS, "sort": "-pushed", "folded": "true"}
    newest = page.ask(images.list_images, query=query, **values["pieces"])
    more = fields.facts(values["repository"], _SHOWN_FIELDS)
    shown = _to_pull(page, values, newest.images)
    box = None if shown is None else pull_box(page, values, shown.kind, shown.digest, shown.tag)
    values |= {"newest": newest, "more_facts": more, "pull": box}
    return View("repository/info.html", values, cookies=pulling.cookies_of(page))


def _to_pull(
    page: PageRequest, values: dict[str, Any], newest: Sequence[image_objects.Image]
) -> image_objects.Image | None:
    """Return the tag that a pull command names: `latest`, else the newest one that clients pull;
    None for an empty repository.
    """
    first = page.ask(images.list_images, query={"limit": 1, "start": _LATEST}, **values["pieces"])
    preferred = [*(one for one in first.images if one.tag == _LATEST), *newest]
    usual = (one for one in preferred if one.kind not in _SELDOM_PULLED and not one.fault)
    return next(iter((*usual, *preferred)), None)


def pull_box(
    page: PageRequest, values: dict[str, Any], kind: str, digest: str, tag: str
) -> pulling.PullBox:
    """Return the pull command for an image of the repository that `values` are of."""
    is_managed = page.client.config.auth.mode == "managed"
    is_private = is_managed and values["repository"].visibility == "private"
    return pulling.box_of(page, values["name"], kind, digest, tag, is_private=is_private)


def show_usage(page: PageRequest) -> View:
    """Measure and show the disk usage of a repository."""
    values = base(page, "info")
    usage = page.ask(storage.get_repository_usage, **values["pieces"])
    return usage_view(page, values, usage)


def usage_view(
    page: PageRequest, values: dict[str, Any], usage: storage_objects.Usage, reference: str = ""
) -> View:
    """Return the view of a disk usage: a part of a page for scripts, else a page of its own."""
    template = "fragments/usage.html" if page.is_fragment else "repository/usage.html"
    return View(template, {**values, "usage": usage, "reference": reference})


def show_tags(page: PageRequest) -> View:
    values = base(page, "tags")
    listing = page.listing("-pushed")
    is_folded = page.query.get("all") != "true"
    query = {**listing.query(), "folded": str(is_folded).lower()}
    found = page.ask(images.list_images, query=query, **values["pieces"])
    return View(
        "repository/tags.html",
        {
            **values,
            "listing": listing,
            "is_folded": is_folded,
            "found": found,
            "next_start": found.next_page_start,
        },
    )


def show_permissions(page: PageRequest) -> View:
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


# The filters of the activity: kinds of events, or prefixes that end with a dot; and the label.
_KINDS = (
    ("", "Everything"),
    ("push", "Pushes"),
    ("delete", "Deletes"),
    ("tag.restore,manifest.restore", "Restores"),
    ("repository.", "Settings"),
    ("grant.,trust.", "Access"),
    ("refusal", "Refusals"),
)


def show_activity(page: PageRequest) -> View:
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


def show_settings(page: PageRequest) -> View:
    return View("repository/settings.html", base(page, "settings", needs="admin"))


def show_trash(page: PageRequest) -> View:
    values = base(page, "trash", needs="push")
    wanted = page.query.get("kind", "")
    kind = wanted if wanted in ("manifests", "tags") else _filled_kind(page, values["pieces"])
    # All links of the list name the kind, also if the address of this page does not.
    listing = replace(page, query={**page.query, "kind": kind}).listing("-deleted")
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


def _filled_kind(page: PageRequest, place: dict[str, str]) -> str:
    """Return "tags" if only tags are in the trash of a repository, else "manifests"."""
    images, tags = (
        page.ask(trash.get_repository_trash, query={"kind": kind, "limit": 1}, **place)
        for kind in ("manifests", "tags")
    )
    return "tags" if tags.tags and not images.manifests else "manifests"


def confirm_delete(page: PageRequest) -> View:
    """Show the space that deleting the repository frees, and ask for a confirmation."""
    values = base(page, "settings", needs="admin")
    usage = page.ask(storage.get_repository_usage, **values["pieces"])
    return View("repository/delete.html", {**values, "usage": usage})


def show_all_trash(page: PageRequest) -> View:
    """List deleted repositories that can be restored."""
    listing = page.listing("-deleted")
    found = page.ask(trash.list_trashed_repositories, query=listing.query())
    return View(
        "trash.html",
        {"rows": found.repositories, "listing": listing, "next_start": found.next_page_start},
    )


def show_missing(page: PageRequest) -> View:
    """Answer for an address below a repository that is no page."""
    return View("missing.html", status=404)


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
# The last of all routes: the name would also match the addresses of other pages.
LAST: dict[str, PageFunction] = {f"{_BASE}/-/{{rest:path}}": show_missing, _BASE: show_info}

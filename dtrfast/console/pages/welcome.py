"""The first steps: from the sign-in to an image that another user can pull."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from dtrfast.api.v0 import accounts, administration, grants, images, repositories, sessions
from dtrfast.config import is_loopback_host
from dtrfast.console.page import PageRequest, View
from dtrfast.console.repository_names import full_name, pieces
from dtrfast.oci.names import ROOT

_REPOSITORIES_MAX = 10
_OTHERS_MAX = 200
_SHOWN_MAX = 5


@dataclass(frozen=True, slots=True)
class Progress:
    """The user's progress in the first steps.

    `repository` and `tag` are those of the pushed image; the tag is empty before the push. `others`
    are users who may pull that image.
    """

    repository: str = ""
    tag: str = ""
    set_by: str = ""
    set_at: str = ""
    is_pulled: bool = False
    others: list[str] = field(default_factory=list)

    @property
    def has_arrived(self) -> bool:
        return bool(self.tag)

    @property
    def key(self) -> str:
        """A text that differs between all states; empty before the push."""
        place = f"{self.repository}:{self.tag} {self.set_at}"
        return f"{place} {self.is_pulled} {','.join(self.others)}" if self.tag else ""

    @property
    def is_done(self) -> bool:
        return self.has_arrived and self.is_pulled and bool(self.others)


def show(page: PageRequest) -> View:
    """Show the steps: commands for this registry, and their results so far."""
    if page.caller.kind != "system":
        page.ask(sessions.get_session)  # raises without a sign-in: the steps are those of a user
    return View("welcome.html", values(page, progress(page)))


def values(page: PageRequest, now: Progress) -> dict[str, Any]:
    """Return the values of the steps."""
    own = _own_name(page)
    query = {"type": "user", "limit": _OTHERS_MAX, "sort": "-created"}
    users = page.glance(accounts.list_accounts, query=query)
    return {
        "now": now,
        "key": now.key,
        "place": now.repository or (f"{own}/hello" if own else "hello"),
        "tag": now.tag or "v1",
        "is_encrypted": page.external.startswith("https:"),
        "is_here": is_loopback_host(urlsplit(page.external).hostname or ""),
        "certificate": page.glance(administration.get_certificate),
        # Other users, the newest first.
        "users": [one.name for one in (users.accounts if users else ()) if one.name != own],
        "shown_max": _SHOWN_MAX,
    }


def progress(page: PageRequest) -> Progress:
    """Return the progress by the newest tag of the user's newest repository that has one."""
    namespace = _own_name(page) or ROOT
    found = page.glance(
        repositories.list_repositories_of_namespace,
        query={"limit": _REPOSITORIES_MAX, "sort": "-created"},
        namespace=namespace,
    )
    for repository in found.repositories if found else ():
        name = full_name(repository)
        tags = page.glance(
            images.list_images, query={"limit": 1, "sort": "-pushed"}, **pieces(name)
        )
        if tags and tags.images:
            (newest,) = tags.images
            is_pulled = newest.pulled_at > ""
            access = page.glance(
                grants.list_user_access, query={"limit": _SHOWN_MAX}, **pieces(name)
            )
            others = [one.user.name for one in (access.user_access_list if access else ())]
            return Progress(name, newest.tag, newest.set_by, newest.set_at, is_pulled, others)
    return Progress()


def _own_name(page: PageRequest) -> str:
    """Return the user's name; empty without accounts."""
    session = page.glance(sessions.get_session)
    return "" if session is None else session.account.name

"""The first steps: from the sign-in to an image that somebody else can pull."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from dtrfast.api.v0 import accounts, administration, grants, images, repositories, sessions
from dtrfast.api.v0.views import ROOT
from dtrfast.config import is_loopback_host
from dtrfast.console.page import Page, View
from dtrfast.console.pages.repositories import full_name, pieces

_REPOSITORIES_MAX = 10
_OTHERS_MAX = 200
_SHOWN_MAX = 5


@dataclass(frozen=True, slots=True)
class Progress:
    """How far somebody came. `others` are users who may pull the image that arrived."""

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
        """Differs for each step."""
        place = f"{self.repository}:{self.tag} {self.set_at}"
        return f"{place} {self.is_pulled} {','.join(self.others)}" if self.tag else ""

    @property
    def is_done(self) -> bool:
        return self.has_arrived and self.is_pulled and bool(self.others)


def show(page: Page) -> View:
    """Commands with everything filled in, and what came of them."""
    if page.caller.kind != "system":
        page.ask(sessions.get_session)  # they are for somebody
    return View("welcome.html", values(page, progress(page)))


def values(page: Page, now: Progress) -> dict[str, Any]:
    """What the steps show."""
    own = _own_name(page)
    return {
        "now": now,
        "key": now.key,
        "place": now.repository or (f"{own}/hello" if own else "hello"),
        "tag": now.tag or "v1",
        "is_encrypted": page.external.startswith("https:"),
        "is_here": is_loopback_host(urlsplit(page.external).hostname or ""),
        "certificate": page.glance(administration.get_certificate),
        "users": _users(page, own),
        "shown_max": _SHOWN_MAX,
    }


def progress(page: Page) -> Progress:
    """Looks at the newest of the user's own repositories, and at one image in it."""
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
            others = _others(page, name)
            return Progress(name, newest.tag, newest.set_by, newest.set_at, is_pulled, others)
    return Progress()


def _own_name(page: Page) -> str:
    """The user's name; nobody has one without accounts."""
    session = page.glance(sessions.get_session)
    return "" if session is None else session.account.name


def _others(page: Page, repository: str) -> list[str]:
    found = page.glance(grants.list_user_access, query={"limit": _SHOWN_MAX}, **pieces(repository))
    return [one.user.name for one in (found.user_access_list if found else ())]


def _users(page: Page, own: str) -> list[str]:
    """Users besides this one, the newest first."""
    query = {"type": "user", "limit": _OTHERS_MAX, "sort": "-created"}
    found = page.glance(accounts.list_accounts, query=query)
    return [one.name for one in (found.accounts if found else ()) if one.name != own]

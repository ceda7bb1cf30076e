"""The first steps: from the sign-in to an image that somebody else can pull."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from dtrfast.api.v0 import accounts, administration, images, objects, repositories, sessions
from dtrfast.config import is_loopback_host
from dtrfast.console.page import Page, View
from dtrfast.console.pages.repositories import full_name, pieces

_LOOKED_AT_MAX = 20


@dataclass(frozen=True, slots=True)
class Arrived:
    """An image that was pushed."""

    repository: str
    tag: str
    set_by: str
    set_at: str

    @property
    def key(self) -> str:
        """Differs for each push."""
        return f"{self.repository}:{self.tag} {self.set_at}"


def show(page: Page) -> View:
    """Commands with everything filled in, and what came of them."""
    session = page.ask(sessions.get_session) if page.caller.kind != "system" else None
    user = None if session is None else session.account
    place = f"{user.name}/hello" if user is not None else "hello"
    arrived = newest(page)
    return View(
        "welcome.html",
        {
            "place": arrived.repository if arrived is not None else place,
            "arrived": arrived,
            "is_encrypted": page.external.startswith("https:"),
            "is_here": is_loopback_host(urlsplit(page.external).hostname or ""),
            "certificate": page.glance(administration.get_certificate),
            "others": _others(page, user),
        },
    )


def newest(page: Page) -> Arrived | None:
    """The image that was pushed last to a repository of the user, if there is one."""
    query = {"limit": _LOOKED_AT_MAX, "sort": "-created"}
    if page.caller.kind != "system":
        query["owned"] = "true"
    found = page.glance(repositories.list_repositories, query=query)
    pushed: list[Arrived] = []
    for repository in found.repositories if found else ():
        name = full_name(repository)
        tags = page.glance(
            images.list_images, query={"limit": 1, "sort": "-pushed"}, **pieces(name)
        )
        pushed += [Arrived(name, t.tag, t.set_by, t.set_at) for t in (tags.images if tags else ())]
    return max(pushed, key=lambda one: one.set_at, default=None)


def _others(page: Page, user: objects.Account | None) -> list[str]:
    """Users besides this one."""
    found = page.glance(accounts.list_accounts, query={"type": "user", "limit": 20})
    own = "" if user is None else user.name
    return [one.name for one in (found.accounts if found else ()) if one.name != own]

"""The first steps: from the sign-in to an image that another user can pull."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from dtrfast.api import browsers
from dtrfast.api.v0 import (
    accounts,
    administration,
    grants,
    image_objects,
    images,
    objects,
    repositories,
    sessions,
)
from dtrfast.config import is_loopback_host
from dtrfast.console import flashes
from dtrfast.console.flashes import Flash
from dtrfast.console.frame import WELCOME_COOKIE
from dtrfast.console.page import PageRequest, View
from dtrfast.console.repository_names import full_name, pieces

_REPOSITORIES_MAX = 10
# Organizations of the user, and repositories of each and of others, in which a push may arrive.
_ORGANIZATIONS_MAX = 3
_ELSEWHERE_MAX = 5
_OTHERS_MAX = 200
_SHOWN_MAX = 5
_DISMISSED_SECONDS = 365 * 86_400


@dataclass(frozen=True, slots=True)
class Progress:
    """The user's progress in the first steps.

    `repository` and `tag` are those of the pushed image; the tag is empty before the push, and then
    `repository` is a name under which a push replaces no image. `others` are users who may pull
    that image. Without accounts there are none, and `has_others` is False.
    """

    repository: str
    tag: str = ""
    set_by: str = ""
    set_at: str = ""
    is_pulled: bool = False
    may_grant: bool = False
    has_others: bool = True
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
        return self.has_arrived and self.is_pulled and (bool(self.others) or not self.has_others)


def show(page: PageRequest) -> View:
    """Show the steps: commands for this registry, and their results so far."""
    if page.caller.kind != "system":
        page.ask(sessions.get_session)  # raises without a sign-in: the steps are those of a user
    return View("welcome.html", values(page, progress(page)))


def is_dismissed(page: PageRequest) -> bool:
    """Return True if the user has dismissed the first steps in this browser."""
    return page.cookies.get(WELCOME_COOKIE, "") == _reader(page)


def dismiss(page: PageRequest) -> View:
    """Remember that the user does not want to be led to the first steps again."""
    is_secure = page.client.is_secure
    place = "the account menu" if page.is_signed_in and own_name(page) else "the foot of each page"
    told = flashes.cookie(Flash(f"The first steps are in {place} from now on."), page, "Done.")
    kept = browsers.cookie(WELCOME_COOKIE, _reader(page), _DISMISSED_SECONDS, is_secure=is_secure)
    return View(location="/", cookies=(kept, told))


def _reader(page: PageRequest) -> str:
    # No account has this name.
    return own_name(page) or "-"


def values(page: PageRequest, now: Progress) -> dict[str, Any]:
    """Return the values of the steps."""
    own = own_name(page)
    query = {"type": "user", "limit": _OTHERS_MAX, "sort": "-created"}
    users = page.glance(accounts.list_accounts, query=query)
    certificate = page.glance(administration.get_certificate)
    is_here = is_loopback_host(urlsplit(page.external).hostname or "")
    done = [is_here or now.has_arrived, now.has_arrived, now.has_arrived, now.is_pulled]
    if own:
        done += [True, now.has_arrived, bool(now.others)]
    return {
        "now": now,
        "key": now.key,
        "tag": now.tag or "v1",
        "done": done.count(True),
        "steps": len(done),
        "is_encrypted": page.external.startswith("https:"),
        "is_here": is_here,
        "is_own_certificate": certificate is not None and certificate.issuer == certificate.subject,
        "fingerprint": certificate.sha256 if certificate else "",
        # Other users, the newest first.
        "users": [one.name for one in (users.accounts if users else ()) if one.name != own],
    }


def progress(page: PageRequest) -> Progress:
    """Return the progress by the newest tag of the newest repository with an image of the user."""
    own = own_name(page)
    empty: list[str] = []
    for repository, is_own in _candidates(page, own):
        found = _newest_tag(page, full_name(repository))
        if found is None:
            continue  # too much to look through: it may have an image
        if is_own and found.count == 0:
            empty.append(full_name(repository))
        for image in found.images:
            if is_own or image.set_by == own:
                return _arrived(page, repository, image, own)
    return Progress(empty[0] if empty else _free_name(page, own), has_others=bool(own))


def _candidates(page: PageRequest, own: str) -> Iterator[tuple[objects.Repository, bool]]:
    """Yield repositories in which a push of the user may arrive, and True if they are its own."""
    yield from ((repository, True) for repository in _own(page, own))
    if own:
        yield from ((repository, False) for repository in _elsewhere(page, own))


def _own(page: PageRequest, own: str) -> Iterator[objects.Repository]:
    """Yield the newest repositories of the user's namespace; without accounts, of the registry."""
    query = {"limit": _REPOSITORIES_MAX, "sort": "-created"}
    if own:
        found = page.glance(repositories.list_repositories_of_namespace, query=query, namespace=own)
    else:
        found = page.glance(repositories.list_repositories, query=query)
    yield from found.repositories if found else ()


def _elsewhere(page: PageRequest, own: str) -> Iterator[objects.Repository]:
    """Yield repositories of others that the user may push to."""
    query: dict[str, object] = {"limit": _ELSEWHERE_MAX, "sort": "-created"}
    owned = page.glance(accounts.list_organizations, query={"owned": "true"}, name=own)
    for one in owned.organizations[:_ORGANIZATIONS_MAX] if owned else ():
        found = page.glance(
            repositories.list_repositories_of_namespace, query=query, namespace=one.name
        )
        yield from found.repositories if found else ()
    shared = page.glance(repositories.list_shared_repositories, query=query, name=own)
    for repository in shared.repositories if shared else ():
        if repository.access_level in ("read-write", "admin"):
            yield repository


def _newest_tag(page: PageRequest, name: str) -> image_objects.Images | None:
    """Return the newest tag of a repository; None if it cannot be told."""
    return page.glance(images.list_images, query={"limit": 1, "sort": "-pushed"}, **pieces(name))


def _arrived(
    page: PageRequest, repository: objects.Repository, image: image_objects.Image, own: str
) -> Progress:
    """Return the progress of a user whose image has arrived."""
    name = full_name(repository)
    access = page.glance(grants.list_user_access, query={"limit": _SHOWN_MAX}, **pieces(name))
    return Progress(
        name,
        image.tag,
        image.set_by,
        image.set_at,
        is_pulled=image.pulled_at > "",
        may_grant=repository.access_level == "admin",
        has_others=bool(own),
        others=[one.user.name for one in (access.user_access_list if access else ())],
    )


def _free_name(page: PageRequest, own: str) -> str:
    """Return a name that no repository has."""
    name = f"{own}/hello" if own else "hello"
    if page.find(repositories.get_repository, **pieces(name)) is None:
        return name
    return f"{name}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"


def own_name(page: PageRequest) -> str:
    """Return the user's name; empty without accounts."""
    session = page.glance(sessions.get_session)
    return "" if session is None else session.account.name

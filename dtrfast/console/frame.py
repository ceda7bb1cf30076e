"""The frame around every page: the signed-in user, the menu, notices, and the flash."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from dtrfast.api.v0 import administration, sessions, storage, storage_objects
from dtrfast.config import is_loopback_host, split_address
from dtrfast.console import flashes, pulling
from dtrfast.console.formatting import sentence, when
from dtrfast.console.page import PageRequest
from dtrfast.times import parse_rfc3339

THEME_COOKIE = "dtrfast_theme"
# The name of a user who dismissed the first steps.
WELCOME_COOKIE = "dtrfast_welcome"
COOKIES = (THEME_COOKIE, WELCOME_COOKIE, flashes.COOKIE, pulling.COOKIE)

_THEMES = ("light", "dark")
# At this share of used space there is still time to act before pushes are refused.
_DISK_FULL_PART = 0.9
# The server renews its own certificate at a start within the same time before its end.
_EXPIRY_SECONDS = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Notice:
    """A state of the registry that administrators should know, and the page to act on it. `about`
    names the line of the health summary that it belongs to.
    """

    level: Literal["warning", "error"]
    text: str
    link: str = ""
    link_text: str = ""
    about: str = ""


def values(page: PageRequest) -> dict[str, Any]:
    """Return the values that the templates of whole pages need."""
    of_part = values_of_part(page)
    state = page.glance(storage.get_storage) if of_part["is_admin"] else None
    theme = page.cookies.get(THEME_COOKIE, "")
    return {
        **of_part,
        "theme": theme if theme in _THEMES else "",
        "notices": notices(page, state) if of_part["is_admin"] else [],
        "flash": flashes.read(page.cookies.get(flashes.COOKIE, "")),
    }


def values_of_part(page: PageRequest) -> dict[str, Any]:
    """Return the values that all templates need, also those of a part of a page."""
    session = page.glance(sessions.get_session)
    user = None if session is None else session.account
    is_admin = page.caller.kind == "system" or (user is not None and user.is_admin)
    return {
        "page": page,
        "user": user,
        "is_admin": is_admin,
        "has_accounts": page.client.config.auth.mode == "managed",
    }


def notices(page: PageRequest, state: storage_objects.Storage | None) -> list[Notice]:
    """Return the notices for administrators, about storage first. `state` is that of the store."""
    found: list[Notice] = []
    config = page.client.config
    if state is not None:
        found += _about_storage(state)
    if config.auth.mode == "none":
        found.append(
            Notice(
                "error",
                "Accounts are off: everyone who reaches this registry can do everything.",
                "/settings/auth",
                "Switch accounts on",
                about="access",
            )
        )
    found += _about_certificate(page)
    is_local = is_loopback_host(split_address(config.server.bind)[0])
    if not page.client.is_secure and not is_local:
        found.append(
            Notice(
                "warning",
                "Connections are not encrypted: others on the network can read what is sent.",
                "/settings/security",
                "Certificates",
                about="certificate",
            )
        )
    return found


def _about_certificate(page: PageRequest) -> list[Notice]:
    shown = page.glance(administration.get_certificate) if page.client.is_secure else None
    left = parse_rfc3339(shown.not_after) - time.time() if shown else _EXPIRY_SECONDS
    if left >= _EXPIRY_SECONDS:
        return []
    assert shown is not None
    verb = "expires" if left > 0 else "expired"
    text = sentence("The certificate {} {}.", verb, when(shown.not_after))
    level: Literal["warning", "error"] = "warning" if left > 0 else "error"
    return [Notice(level, text, "/settings/security", "Certificate", about="certificate")]


def _about_storage(state: storage_objects.Storage) -> list[Notice]:
    found: list[Notice] = []
    if state.damaged_blobs or state.damaged_chunks:
        what = [
            f"{count} {name}{'' if count == 1 else 's'}"
            for count, name in ((state.damaged_blobs, "blob"), (state.damaged_chunks, "chunk"))
            if count
        ]
        text = f"Damaged on disk: {' and '.join(what)}. A push of the same image repairs it."
        found.append(Notice("error", text, "/settings/storage#damages", "Details", about="content"))
    used = 1 - state.disk_free_bytes / max(1, state.disk_bytes)
    if state.disk_bytes and state.disk_free_bytes < state.reserve_bytes:
        text = "The disk is full: pushes are refused until something is deleted."
        found.append(Notice("error", text, "/settings/storage", "Storage", about="disk"))
    elif state.disk_bytes and used > _DISK_FULL_PART:
        text = f"The disk is {used:.0%} full: pushes will soon be refused."
        found.append(Notice("warning", text, "/settings/storage", "Storage", about="disk"))
    return found

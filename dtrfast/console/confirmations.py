"""Confirmations: questions before operations that are final, or that take access away.

The console answers the form of such an operation with the question and a button. The button sends
the form again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dtrfast.api.v0 import credentials, storage
from dtrfast.console.formatting import count, sentence, size, when
from dtrfast.console.page import BY_ID, PageRequest

Path = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The effect of an operation in words, and the label of the button that carries it out."""

    text: str
    button: str

    def filled(self, path: Path) -> Confirmation:
        """Return the confirmation with the pieces of the path in place of their names in braces."""
        return Confirmation(self.text.format_map(path), self.button.format_map(path))


def confirm_credential(page: PageRequest, path: Path, body: Any) -> Confirmation:
    """Ask before a token or a robot is revoked. The path has its id, the question its name."""
    number = path.get("token") or path["robot"]
    handler = credentials.list_tokens if "token" in path else credentials.list_robots
    found = page.glance(handler, name=path["name"])
    names = {one.id: one.name for one in (found.credentials if found else ())}
    return Confirmation(
        "Everything that uses it stops working immediately. It cannot be undone.",
        f"Revoke {names.get(number, number)}",
    )


def confirm_role(page: PageRequest, path: Path, body: Any) -> Confirmation | None:
    """Ask before a user becomes an administrator or stops being one."""
    if body.is_admin is True:
        text = f"{path['name']} will be able to do everything here."
        return Confirmation(text, f"Make {path['name']} an administrator")
    if body.is_admin is False:
        return Confirmation(f"{path['name']} loses all administrator rights.", "Remove the role")
    return None


def confirm_certificate(page: PageRequest, path: Path, body: Any) -> Confirmation:
    """Ask before the certificate is replaced. Raises the operation's errors for the new one."""
    check = BY_ID["put_certificate"].check
    assert check is not None
    new: Any = check(page.client.call(path, None, body))
    text = sentence(
        "The new certificate is for {}, signed by {}, valid until {}. Clients see it within"
        " seconds; those that do not trust it cannot connect.",
        ", ".join(new.names) or new.subject,
        new.issuer,
        when(new.not_after, "full"),
    )
    return Confirmation(text, "Replace the certificate")


def confirm_job(page: PageRequest, path: Path, body: Any) -> Confirmation | None:
    """Ask before the trash is emptied. Other jobs need no confirmation."""
    if path["job"] != "empty-trash":
        return None
    state = page.ask(storage.get_storage, query={"trash": "true"})
    number, room = state.trash_things, size(state.trash_bytes)
    room = f"at least {room}" if state.is_trash_part else room
    items = f"{count(number)} item{'' if number == 1 else 's'}"
    text = f"This permanently deletes {items} and frees {room}. It cannot be undone."
    return Confirmation(text, "Empty the trash")

"""What is asked before it is done: everything that cannot be undone, or that shuts somebody out.

A form of such an operation is answered with the question, and a button that sends it once more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dtrfast.api.v0 import credentials, storage
from dtrfast.console.page import BY_ID, Page
from dtrfast.console.texts import count, size

Path = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Question:
    """What happens, and what the button says that lets it happen."""

    text: str
    button: str


def _account(page: Page, path: Path, body: Any) -> Question:
    text = f"This deletes {path['name']} with its teams, tokens and access. It cannot be undone."
    return Question(text, f"Delete {path['name']}")


def _team(page: Page, path: Path, body: Any) -> Question:
    text = "Its members lose the access that it gives them. It cannot be undone."
    return Question(text, f"Delete the team {path['team']}")


def _member(page: Page, path: Path, body: Any) -> Question:
    text = f"{path['member']} loses the access that the teams of {path['name']} give."
    return Question(text, f"Remove {path['member']}")


def _credential(page: Page, path: Path, body: Any) -> Question:
    name = _name_of_credential(page, path)
    return Question(
        "Everything that uses it stops working immediately. It cannot be undone.", f"Revoke {name}"
    )


def _name_of_credential(page: Page, path: Path) -> str:
    """What its owner calls it: forms name it by its number."""
    number = path.get("token") or path["robot"]
    lists = credentials.list_tokens if "token" in path else credentials.list_robots
    found = page.glance(lists, name=path["name"])
    names = {one.id: one.name for one in (found.credentials if found else ())}
    return names.get(number, number)


def _deactivate(page: Page, path: Path, body: Any) -> Question:
    text = f"All sessions of {path['name']} end. Its tokens stop working until it is enabled."
    return Question(text, f"Disable sign-in of {path['name']}")


def _reset(page: Page, path: Path, body: Any) -> Question:
    text = f"The password of {path['name']} stops working, and all its sessions end."
    return Question(text, "Generate a password")


def _role(page: Page, path: Path, body: Any) -> Question | None:
    if body.is_admin is True:
        text = f"{path['name']} will be able to do everything here."
        return Question(text, f"Make {path['name']} an administrator")
    if body.is_admin is False:
        return Question(f"{path['name']} loses all administrator rights.", "Remove the role")
    return None


def _directory(page: Page, path: Path, body: Any) -> Question:
    text = "Users of the directory can no longer sign in with a password. Their accounts stay."
    return Question(text, "Disconnect the directory")


def _certificate(page: Page, path: Path, body: Any) -> Question:
    check = BY_ID["put_certificate"].check
    assert check is not None
    new: Any = check(page.asker.call(path, None, body))
    text = (
        f"The new certificate is for {', '.join(new.names) or new.subject}, signed by {new.issuer},"
        f" valid until {new.not_after[:10]}. Clients see it within seconds; those that do not trust"
        " it cannot connect."
    )
    return Question(text, "Replace the certificate")


def _trust(page: Page, path: Path, body: Any) -> Question:
    return Question("The CI jobs that match it lose access immediately.", f"Revoke {path['trust']}")


def _job(page: Page, path: Path, body: Any) -> Question | None:
    if path["job"] != "empty-trash":
        return None
    state = page.ask(storage.get_storage, query={"trash": "true"})
    number, room = state.trash_things, size(state.trash_bytes)
    room = f"at least {room}" if state.is_trash_part else room
    items = f"{count(number)} item{'' if number == 1 else 's'}"
    text = f"This permanently deletes {items} and frees {room}. It cannot be undone."
    return Question(text, "Empty the trash")


_QUESTIONS: Mapping[str, Callable[[Page, Path, Any], Question | None]] = {
    "delete_account": _account,
    "delete_team": _team,
    "delete_member": _member,
    "delete_token": _credential,
    "delete_robot": _credential,
    "delete_trust": _trust,
    "deactivate": _deactivate,
    "reset_password": _reset,
    "update_account": _role,
    "delete_ldap_settings": _directory,
    "put_certificate": _certificate,
    "run_job": _job,
}


def question(page: Page, operation: str, path: Path, body: Any) -> Question | None:
    """What is to be asked; None where nothing is."""
    ask = _QUESTIONS.get(operation)
    return None if ask is None else ask(page, path, body)

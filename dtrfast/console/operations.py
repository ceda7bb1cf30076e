"""The console's operations: one record for each operation of the management API that changes data.

A form names an operation by its id (`POST /do/ID`). The record holds everything else that the
console needs to know. A new operation of the API needs one record here; a test compares the two
lists.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from dtrfast.api.v0.operation import Operation
from dtrfast.console.confirmations import (
    Confirmation,
    confirm_certificate,
    confirm_credential,
    confirm_job,
    confirm_role,
)
from dtrfast.console.page import BY_ID, PageRequest
from dtrfast.console.undo import Undo, undo_deletion, undo_manifests, undo_repository

Confirm = Callable[[PageRequest, Mapping[str, str], Any], Confirmation | None]
MakeUndo = Callable[[PageRequest, Sequence[Mapping[str, str]], Any], Undo | None]

# Operations of these parts of the API create accounts, or access of accounts. A server without
# accounts refuses them: they would take effect when accounts are switched on.
_ACCOUNT_TAGS = frozenset({"accounts", "teams", "access", "credentials", "sessions", "ldap"})


@dataclass(frozen=True, slots=True)
class ConsoleOperation:
    """An operation as the console presents it.

    `done` is the sentence after success, or a function that chooses it by the request body.
    `done_many` replaces it after several calls. A sentence may name pieces of the operation's path
    in braces. It may also name `{repository}` (the full name), `{made}` (the name in the answer),
    `{level}` (the granted access) and `{count}` (the calls; only `done_many`).

    `confirmation` is the question before the call, or a function that makes it of the page request,
    the path and the body. Its texts may name pieces of the path, too. `answer_template` shows the
    answer in place of the sentence: a secret that is shown once, or the result of a test. `undo`
    makes the operation that takes successful calls back, of the page request, the paths of the
    calls and the last answer.
    """

    id: str
    done: str | Callable[[Any], str]
    done_many: str = ""
    confirmation: Confirmation | Confirm | None = None
    answer_template: str = ""
    undo: MakeUndo | None = None
    needs_accounts: bool = False

    @property
    def api(self) -> Operation:
        """The operation of the management API."""
        return BY_ID[self.id]

    @property
    def is_for_accounts(self) -> bool:
        """True if a server without accounts refuses the operation."""
        return self.needs_accounts or self.api.tag in _ACCOUNT_TAGS

    def confirm(self, page: PageRequest, path: Mapping[str, str], body: Any) -> Confirmation | None:
        """Return the question before a call; None if the call needs no confirmation."""
        if isinstance(self.confirmation, Confirmation):
            return self.confirmation.filled(path)
        return None if self.confirmation is None else self.confirmation(page, path, body)

    def sentence(self, pieces: Mapping[str, str], body: Any = None, count: int = 1) -> str:
        """Return the sentence after `count` successful calls. Unknown names become empty."""
        known = defaultdict(str, pieces)
        if count > 1 and self.done_many:
            return self.done_many.format_map({**known, "count": str(count)})
        template = self.done if isinstance(self.done, str) else self.done(body)
        text = template.format_map(known)
        return f"{text} ({count} times)" if count > 1 else text


def _account_change(body: Any) -> str:
    if body.is_admin is msgspec.UNSET:
        return "Saved the changes to {name}."
    if body.is_admin:
        return "{name} is now a system administrator."
    return "{name} is no longer a system administrator."


_OPERATIONS = (
    # Accounts and sessions.
    ConsoleOperation("create_account", "Created {made}."),
    ConsoleOperation("update_account", _account_change, confirmation=confirm_role),
    ConsoleOperation(
        "delete_account",
        "Deleted {name}.",
        confirmation=Confirmation(
            "This deletes {name} with its teams, tokens and access. It cannot be undone.",
            "Delete {name}",
        ),
    ),
    ConsoleOperation(
        "import_accounts", "Imported the users.", answer_template="shown/imported.html"
    ),
    ConsoleOperation(
        "change_password", "Changed the password of {name}. All sessions of {name} have ended."
    ),
    ConsoleOperation(
        "reset_password",
        "{name} has a new password.",
        confirmation=Confirmation(
            "The password of {name} stops working, and all its sessions end.", "Generate a password"
        ),
        answer_template="shown/password.html",
    ),
    ConsoleOperation("activate", "{name} can sign in again."),
    ConsoleOperation(
        "deactivate",
        "{name} can no longer sign in; all sessions of {name} have ended.",
        confirmation=Confirmation(
            "All sessions of {name} end. Its tokens stop working until it is enabled.",
            "Disable sign-in of {name}",
        ),
    ),
    ConsoleOperation("sign_in", "Signed in."),
    ConsoleOperation("sign_out", "Signed out."),
    ConsoleOperation("delete_session", "Ended the session.", "Ended {count} sessions."),
    # Members and teams.
    ConsoleOperation(
        "delete_member",
        "Removed {member} from all teams of {name}.",
        confirmation=Confirmation(
            "{member} loses the access that the teams of {name} give.", "Remove {member}"
        ),
    ),
    ConsoleOperation("create_team", "Created the team {made}."),
    ConsoleOperation("update_team", "Saved the changes to the team {made}."),
    ConsoleOperation(
        "delete_team",
        "Deleted the team {team}.",
        confirmation=Confirmation(
            "Its members lose the access that it gives them. It cannot be undone.",
            "Delete the team {team}",
        ),
    ),
    ConsoleOperation("add_team_member", "Added {member} to the team {team}."),
    ConsoleOperation("delete_team_member", "Removed {member} from the team {team}."),
    # Access and credentials.
    ConsoleOperation("grant_user_access", "{grantee} now has {level} access to {repository}."),
    ConsoleOperation("revoke_user_access", "Revoked the access of {grantee} to {repository}."),
    ConsoleOperation(
        "grant_team_access", "The team {team} now has {level} access to {repository}."
    ),
    ConsoleOperation(
        "revoke_team_access", "Revoked the access of the team {team} to {repository}."
    ),
    ConsoleOperation(
        "grant_namespace_access",
        "The team {team} now has {level} access to all repositories of {namespace}.",
    ),
    ConsoleOperation(
        "revoke_namespace_access",
        "Revoked the access of the team {team} to all repositories of {namespace}.",
    ),
    ConsoleOperation(
        "create_token", "Created the token {made}.", answer_template="shown/secret.html"
    ),
    ConsoleOperation("delete_token", "Revoked the token.", confirmation=confirm_credential),
    ConsoleOperation(
        "create_robot", "Created the robot {made}.", answer_template="shown/secret.html"
    ),
    ConsoleOperation("delete_robot", "Revoked the robot.", confirmation=confirm_credential),
    ConsoleOperation("put_trust", "CI jobs that match {trust} can now use {repository}."),
    ConsoleOperation(
        "delete_trust",
        "Revoked the access of CI jobs that match {trust} to {repository}.",
        confirmation=Confirmation(
            "The CI jobs that match it lose access immediately.", "Revoke {trust}"
        ),
    ),
    # Repositories, tags and images.
    ConsoleOperation("create_repository", "Created {made}."),
    ConsoleOperation("update_repository", "Saved the changes to {repository}."),
    ConsoleOperation(
        "preview_readme", "Rendered the README.", answer_template="shown/preview.html"
    ),
    ConsoleOperation("delete_repository", "Deleted {repository}.", undo=undo_repository),
    ConsoleOperation(
        "delete_manifest",
        "Deleted {reference} from {repository}.",
        "Deleted {count} images or tags from {repository}.",
        undo=undo_manifests,
    ),
    ConsoleOperation(
        "delete_references", "Deleted the selection from {repository}.", undo=undo_deletion
    ),
    ConsoleOperation(
        "restore_tag",
        "Restored {tag} in {repository}.",
        "Restored {count} tags in {repository}.",
    ),
    ConsoleOperation(
        "restore_manifest",
        "Restored the image in {repository}.",
        "Restored {count} images in {repository}.",
    ),
    ConsoleOperation("restore_references", "Restored the selection in {repository}."),
    ConsoleOperation("restore_deletion", "Restored the deleted tags and images of {repository}."),
    ConsoleOperation("restore_run", "Restored the tags and images that the run deleted."),
    ConsoleOperation("restore_repository", "Restored {made}."),
    # Settings.
    ConsoleOperation(
        "put_access_settings",
        "Saved the settings. They took effect immediately.",
        needs_accounts=True,
    ),
    ConsoleOperation(
        "put_oidc_settings", "Saved the issuers. They took effect immediately.", needs_accounts=True
    ),
    ConsoleOperation(
        "put_ldap_settings", "Saved the directory's settings. They took effect immediately."
    ),
    ConsoleOperation(
        "delete_ldap_settings",
        "Disconnected the directory.",
        confirmation=Confirmation(
            "Users of the directory can no longer sign in with a password. Their accounts stay.",
            "Disconnect the directory",
        ),
    ),
    ConsoleOperation(
        "sync_ldap",
        "Synchronized with the directory.",
        answer_template="shown/synchronized.html",
    ),
    ConsoleOperation(
        "try_ldap_settings", "Tested the settings.", answer_template="shown/tested.html"
    ),
    ConsoleOperation("try_ldap_login", "Tried the sign-in.", answer_template="shown/tried.html"),
    ConsoleOperation(
        "put_certificate",
        "Replaced the certificate. Every worker uses it within seconds.",
        confirmation=confirm_certificate,
    ),
    ConsoleOperation("put_storage_settings", "Saved the settings. They took effect immediately."),
    # Jobs.
    ConsoleOperation("run_job", "{job} starts when no other job runs.", confirmation=confirm_job),
    ConsoleOperation("cancel_job", "{job} is being canceled."),
    ConsoleOperation("reindex", "There was nothing to do."),
)
CONSOLE_OPERATIONS: Mapping[str, ConsoleOperation] = {one.id: one for one in _OPERATIONS}

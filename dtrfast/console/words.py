"""What the console says once an operation is done. `{what}` is what it was done to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dtrfast.api.v0.image_objects import Deletion, Restoration

# Every operation that changes something has a sentence; a test compares.
DONE: Mapping[str, str] = {
    "create_account": "The account was made.",
    "update_account": "{what} was changed.",
    "delete_account": "{what} was deleted.",
    "import_accounts": "The users were made.",
    "change_password": "The password of {what} was changed. All its sessions have ended.",
    "reset_password": "{what} has a new password.",
    "activate": "{what} may sign in again.",
    "deactivate": "{what} may not sign in any more; all its sessions have ended.",
    "delete_member": "The member was taken out of all teams.",
    "create_team": "The team was made.",
    "update_team": "The team was changed.",
    "delete_team": "The team was deleted.",
    "add_team_member": "The member was added.",
    "delete_team_member": "The member was taken out of the team.",
    "create_repository": "The repository was made.",
    "update_repository": "{what} was changed.",
    "delete_repository": "{what} was deleted.",
    "delete_manifest": "Deleted in {what}.",
    "delete_references": "Deleted in {what}.",
    "grant_user_access": "The access was changed.",
    "revoke_user_access": "The access was taken back.",
    "grant_team_access": "The access was changed.",
    "revoke_team_access": "The access was taken back.",
    "grant_namespace_access": "The access was changed.",
    "revoke_namespace_access": "The access was taken back.",
    "reindex": "There was nothing to do.",
    "create_token": "The token was made.",
    "delete_token": "The token was revoked.",
    "create_robot": "The robot was made.",
    "delete_robot": "The robot was revoked.",
    "put_trust": "The trust was saved.",
    "delete_trust": "The trust was taken back.",
    "sign_in": "Signed in.",
    "sign_out": "Signed out.",
    "delete_session": "The session was ended.",
    "put_access_settings": "The settings were changed and count at once.",
    "put_oidc_settings": "The issuers were changed and count at once.",
    "put_ldap_settings": "The directory's settings were changed and count at once.",
    "delete_ldap_settings": "The directory is used no more.",
    "sync_ldap": "The directory was synchronised.",
    "try_ldap_login": "The sign-in was tried.",
    "put_certificate": "The certificate was replaced; every worker shows it within seconds.",
    "put_storage_settings": "The settings were changed and count at once.",
    "restore_tag": "The tag was restored in {what}.",
    "restore_manifest": "The image was restored in {what}.",
    "restore_references": "Restored in {what}.",
    "restore_deletion": "Restored in {what}.",
    "restore_run": "What the run deleted was restored.",
    "restore_repository": "The repository was restored.",
    "run_job": "The job {what} begins within a second.",
    "cancel_job": "The job {what} is being cancelled.",
}


def shown_path(path: Mapping[str, str]) -> str:
    """What an operation was done to, from the pieces of its path."""
    if "repository" in path:
        namespace = "" if path["namespace"] == "_" else f"{path['namespace']}/"
        return namespace + path["repository"]
    return next(iter(path.values()), "")


_NAMES_TOLD_MAX = 8


def told(subject: str, answer: msgspec.Struct | None) -> str:
    """What an operation on many things did, as its answer has it; empty for others."""
    if isinstance(answer, Deletion):
        what = _things(len(answer.manifests), answer.tags)
        text = f"Deleted {what} of {subject}{_names(answer.tags)}."
        missing = answer.missing
        return text + (f" No longer there{_names(missing)}." if missing else "")
    if isinstance(answer, Restoration):
        what = _things(answer.manifests, answer.tags)
        text = f"Restored {what} in {subject}{_names(answer.tags)}."
        taken = answer.tags_taken
        return text + (f" These tags point elsewhere by now{_names(taken)}." if taken else "")
    return ""


def _things(images: int, tags: Sequence[str]) -> str:
    parts = [_counted(images, "image"), _counted(len(tags), "tag")]
    return " and ".join(part for part in parts if part) or "nothing"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}" if number else ""


def _names(names: Sequence[str]) -> str:
    """Some of the names, and how many more there are."""
    if not names:
        return ""
    more = len(names) - _NAMES_TOLD_MAX
    shown = ", ".join(names[:_NAMES_TOLD_MAX])
    return f": {shown}" + (f" and {more} more" if more > 0 else "")

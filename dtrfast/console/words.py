"""What the console says once an operation is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dtrfast.api.v0.image_objects import Deletion, Restoration

# Every operation that changes something has a sentence; a test compares. Names in braces are
# pieces of the operation's path; `repository` is its whole name, `made` the name in the answer,
# `level` the access that was given.
DONE: Mapping[str, str] = {
    "create_account": "Created {made}.",
    "update_account": "Saved the changes to {name}.",
    "delete_account": "Deleted {name}.",
    "import_accounts": "Imported the users.",
    "change_password": "Changed the password of {name}. All sessions of {name} have ended.",
    "reset_password": "{name} has a new password.",
    "activate": "{name} can sign in again.",
    "deactivate": "{name} can no longer sign in; all sessions of {name} have ended.",
    "delete_member": "Removed {member} from all teams of {name}.",
    "create_team": "Created the team {made}.",
    "update_team": "Saved the changes to the team {made}.",
    "delete_team": "Deleted the team {team}.",
    "add_team_member": "Added {member} to the team {team}.",
    "delete_team_member": "Removed {member} from the team {team}.",
    "create_repository": "Created {made}.",
    "update_repository": "Saved the changes to {repository}.",
    "delete_repository": "Deleted {repository}.",
    "delete_manifest": "Deleted {reference} from {repository}.",
    "delete_references": "Deleted the chosen from {repository}.",
    "grant_user_access": "{grantee} now has {level} access to {repository}.",
    "revoke_user_access": "Revoked the access of {grantee} to {repository}.",
    "grant_team_access": "The team {team} now has {level} access to {repository}.",
    "revoke_team_access": "Revoked the access of the team {team} to {repository}.",
    "grant_namespace_access": (
        "The team {team} now has {level} access to all repositories of {namespace}."
    ),
    "revoke_namespace_access": (
        "Revoked the access of the team {team} to all repositories of {namespace}."
    ),
    "reindex": "There was nothing to do.",
    "create_token": "Created the token {made}.",
    "delete_token": "Revoked the token.",
    "create_robot": "Created the robot {made}.",
    "delete_robot": "Revoked the robot.",
    "put_trust": "CI jobs that match {trust} can now use {repository}.",
    "delete_trust": "Revoked the access of CI jobs that match {trust} to {repository}.",
    "sign_in": "Signed in.",
    "sign_out": "Signed out.",
    "delete_session": "Ended the session.",
    "put_access_settings": "Saved the settings. They took effect immediately.",
    "put_oidc_settings": "Saved the issuers. They took effect immediately.",
    "put_ldap_settings": "Saved the directory's settings. They took effect immediately.",
    "delete_ldap_settings": "Disconnected the directory.",
    "sync_ldap": "Synchronised with the directory.",
    "try_ldap_settings": "Tested the settings.",
    "try_ldap_login": "Tried the sign-in.",
    "put_certificate": "Replaced the certificate. Every worker uses it within seconds.",
    "put_storage_settings": "Saved the settings. They took effect immediately.",
    "restore_tag": "Restored {tag} in {repository}.",
    "restore_manifest": "Restored the image in {repository}.",
    "restore_references": "Restored the chosen in {repository}.",
    "restore_deletion": "Restored what was deleted from {repository}.",
    "restore_run": "Restored what the run deleted.",
    "restore_repository": "Restored {made}.",
    "run_job": "{job} starts once no other job runs.",
    "cancel_job": "{job} is being cancelled.",
}
# The same, for forms that made many calls.
DONE_MANY: Mapping[str, str] = {
    "delete_manifest": "Deleted {count} images or tags from {repository}.",
    "restore_tag": "Restored {count} tags in {repository}.",
    "restore_manifest": "Restored {count} images in {repository}.",
    "delete_session": "Ended {count} sessions.",
}
ROLES: Mapping[bool, str] = {
    True: "{name} is now a system administrator.",
    False: "{name} is no longer a system administrator.",
}


class _Pieces(dict[str, str]):
    """What is not known of an operation is left out of its sentence."""

    def __missing__(self, name: str) -> str:
        return ""


def sentence(operation: str, about: Mapping[str, str], count: int = 1) -> str:
    """What an operation did. `about` are the pieces that its sentence may name."""
    if count > 1 and operation in DONE_MANY:
        return DONE_MANY[operation].format_map(_Pieces({**about, "count": str(count)}))
    text = DONE.get(operation, "Done.")
    if "role" in about:
        text = ROLES[about["role"] == "admin"]
    text = text.format_map(_Pieces(about))
    return f"{text} ({count} times)" if count > 1 else text


def full_name(path: Mapping[str, str]) -> str:
    """The repository that an operation was about, from the pieces of its path."""
    namespace = "" if path["namespace"] == "_" else f"{path['namespace']}/"
    return namespace + path["repository"]


_NAMES_TOLD_MAX = 8


def told(subject: str, answer: msgspec.Struct | None) -> str:
    """What an operation on many things did, as its answer has it; empty for others."""
    if isinstance(answer, Deletion):
        what = _things(len(answer.manifests), answer.tags)
        text = f"Deleted {what} of {subject}{_names(answer.tags)}."
        missing, left = answer.missing, answer.left
        text += f" No longer there{_names(missing)}." if missing else ""
        return text + (f" Too much for one go, delete again{_names(left)}." if left else "")
    if isinstance(answer, Restoration):
        what = _things(answer.manifests, answer.tags)
        text = f"Restored {what} in {subject}{_names(answer.tags)}."
        taken = answer.tags_taken
        text += f" These tags point elsewhere by now{_names(taken)}." if taken else ""
        left = answer.left
        return text + (f" Too much for one go, restore again{_names(left)}." if left else "")
    return ""


def _things(images: int, tags: Sequence[str]) -> str:
    parts = [_counted(images, "image"), _counted(len(tags), "tag")]
    return " and ".join(part for part in parts if part) or "nothing"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}" if number else ""


def _names(names: Sequence[str]) -> str:
    """Some of the names, and how many more there are. Sorted: they come in the order of the page
    that they were chosen on, by times that it shows in minutes.
    """
    if not names:
        return ""
    more = len(names) - _NAMES_TOLD_MAX
    shown = ", ".join(sorted(names)[:_NAMES_TOLD_MAX])
    return f": {shown}" + (f" and {more} more" if more > 0 else "")

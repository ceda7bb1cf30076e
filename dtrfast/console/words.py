"""What the console says once an operation is done. `{what}` is what it was done to."""

from __future__ import annotations

from collections.abc import Mapping

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

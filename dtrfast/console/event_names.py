"""Names and details of audit events, as pages show them."""

from __future__ import annotations

from collections.abc import Mapping

from dtrfast.console.formatting import short_digest, size

# The names of kinds of events, in the order in which a page lists them for selection.
NAMES: Mapping[str, str] = {
    "push": "Push",
    "delete": "Delete",
    "tag.restore": "Tag restored",
    "manifest.restore": "Image restored",
    "run.restore": "Run undone",
    "refusal": "Refused",
    "sign-in": "Sign-in",
    "sign-out": "Sign-out",
    "session.end": "Session ended",
    "repository.create": "Repository created",
    "repository.update": "Repository changed",
    "repository.delete": "Repository deleted",
    "repository.restore": "Repository restored",
    "grant.set": "Access granted",
    "grant.remove": "Access removed",
    "trust.set": "CI trust saved",
    "trust.remove": "CI trust deleted",
    "account.create": "Account created",
    "account.update": "Account changed",
    "account.delete": "Account deleted",
    "account.activate": "Sign-in enabled",
    "account.deactivate": "Sign-in disabled",
    "password.change": "Password changed",
    "password.reset": "Password reset",
    "token.create": "Token created",
    "token.delete": "Token revoked",
    "robot.create": "Robot created",
    "robot.delete": "Robot revoked",
    "team.create": "Team created",
    "team.update": "Team changed",
    "team.delete": "Team deleted",
    "member.add": "Member added",
    "member.remove": "Member removed",
    "settings": "Settings changed",
    "ldap.sync": "LDAP synchronized",
    "ldap.test": "LDAP settings tested",
    "ldap.try": "LDAP sign-in tried",
    "job.run": "Job started",
    "job.cancel": "Job canceled",
    "diagnostics": "Support bundle created",
    "store.damage": "Damage found",
    "store.repair": "Index repaired",
    "store.rollback": "Version rolled back",
    "store.seal": "Rollback ruled out",
    "backup": "Backup created",
    "restore": "Backup restored",
    "trash.empty": "Trash emptied",
    "trash.purge": "Old trash removed",
    "events.lost": "Events lost",
}


def name_of(kind: str) -> str:
    """Return the name of a kind of events; the kind itself if it has no name."""
    return NAMES.get(kind, kind)


def details_of(detail: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return names and values of an event's details, without empty ones."""
    return [(name, _text(name, value)) for name, value in detail.items() if value not in ("", None)]


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "size" and str(value).isdecimal():
        return size(float(str(value)))
    text = str(value)
    return short_digest(text) if text.startswith(("sha256:", "sha512:")) else text

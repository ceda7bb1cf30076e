"""Names and details of audit events, as pages show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dtrfast.console.formatting import count, short_digest, size
from dtrfast.oci.images import kind_of_tag, subject_of_tag

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
    "tier.convert": "Layers converted",
    "tier.evict": "Layers evicted",
    "tier.expand": "Layers expanded",
    "trash.purge": "Old trash removed",
    "events.lost": "Events lost",
}


@dataclass(frozen=True, slots=True)
class EventDetail:
    """A detail of an event. `whole` is the whole value.

    `text` is short, for the line of the event. It is empty for a detail that only the opened line
    shows. A text that `is_plain` needs no name before it.
    """

    name: str
    text: str
    whole: str
    is_plain: bool = False


def title_of(kind: str, detail: Mapping[str, object]) -> str:
    """Return the title of an event. A kind without a name is its own title."""
    reference = str(detail.get("reference", ""))
    if kind in ("push", "delete") and reference:
        done = "pushed" if kind == "push" else "deleted"
        about = kind_of_tag(reference)
        thing = about[:1].upper() + about[1:] or ("Image" if ":" in reference else "Tag")
        return f"{thing} {done}"
    if kind == "delete" and detail.get("blob"):
        return "Blob deleted"
    return NAMES.get(kind, kind)


def details_of(detail: Mapping[str, object]) -> list[EventDetail]:
    """Return the details of an event, without empty ones.

    An image that was pushed without a tag has its digest as its reference, too: it is shown once.
    """
    shown = {name: value for name, value in detail.items() if value not in ("", None)}
    if shown.get("digest") == shown.get("reference"):
        shown.pop("digest", None)
    return [_detail(name, value) for name, value in shown.items()]


def _detail(name: str, value: object) -> EventDetail:
    if isinstance(value, bool):
        text = "yes" if value else "no"
        return EventDetail(name, text, text)
    text = str(value)
    if name == "size" and text.isdecimal():
        # It is not the size of the image, so the line does not show it.
        whole = f"{size(float(text))} ({count(float(text))} bytes)"
        return EventDetail("manifest size", "", whole)
    if name == "again" and text.isdecimal():
        more = f"{count(float(text))} more time{'' if text == '1' else 's'}"
        return EventDetail("repeated", more, more, is_plain=True)
    if name == "reference" and kind_of_tag(text):
        subject = subject_of_tag(text)
        return EventDetail(name, f"for {short_digest(str(subject))}", text, is_plain=True)
    short = short_digest(text) if text.startswith(("sha256:", "sha512:")) else text
    return EventDetail(name, short, text, is_plain=name == "reference")

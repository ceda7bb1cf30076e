"""Shares of the audit log: events of one kind of work do not push out events of another.

Each share has its own files (a series of `line_files`), and an equal part of the log's size. A
caller that signs in, pushes, or creates tokens in a loop fills only the share of that work. Only
administrators, the command line and the server itself write into `ADMINISTRATION`.
"""

from __future__ import annotations

from enum import StrEnum


class Share(StrEnum):
    """A share; its value is the first digit of its files' names."""

    ADMINISTRATION = "1"
    CHANGES = "2"  # changes by users: tokens, repositories, grants, teams
    CONTENT = "3"  # pushes, deletes, restores, and purges of the trash
    SIGN_INS = "4"
    REFUSALS = "5"


_CONTENT = frozenset(
    {"push", "delete", "tag.restore", "manifest.restore", "run.restore", "trash.purge"}
)
_SIGN_INS = frozenset({"sign-in", "sign-out"})
# Kinds that ordinary users can write as often as they like. Any other kind belongs to
# administrators, including a new one.
_OF_USERS = frozenset(
    {
        "account.update",
        "grant.remove",
        "grant.set",
        "member.add",
        "member.remove",
        "password.change",
        "repository.create",
        "repository.delete",
        "repository.restore",
        "repository.update",
        "robot.create",
        "robot.delete",
        "session.end",
        "team.create",
        "team.delete",
        "team.update",
        "token.create",
        "token.delete",
        "trust.remove",
        "trust.set",
    }
)


def share_of(kind: str, outcome: str, *, by_admin: bool) -> Share:
    """Return the share of an event. `by_admin`: its actor is an administrator or the server."""
    # A sign-in that fails while a directory is down has a name that the caller chose.
    if outcome == "refused" or (kind in _SIGN_INS and outcome == "failed"):
        return Share.REFUSALS
    if kind in _SIGN_INS:
        return Share.SIGN_INS
    if kind in _CONTENT:
        return Share.CONTENT
    if kind in _OF_USERS and not by_admin:
        return Share.CHANGES
    return Share.ADMINISTRATION

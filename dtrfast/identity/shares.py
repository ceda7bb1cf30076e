"""Shares of the audit log: events of one kind of work push out no others.

Each share has files of its own (`line_files`: a series), and an equal part of the log's size. A
caller who may sign in, push, or make tokens and repositories, and does so in a loop, fills its own
share. Only administrators, the command line and the server itself write into `ADMINISTRATION`.
"""

from __future__ import annotations

from enum import StrEnum


class Share(StrEnum):
    """A share; its value is the first digit of its files' names."""

    ADMINISTRATION = "1"
    CHANGES = "2"  # what users change: tokens, repositories, grants, teams
    CONTENT = "3"  # pushes, deletes, what takes deletes back, and what ends the trash
    SIGN_INS = "4"
    REFUSALS = "5"


_CONTENT = frozenset(
    {"push", "delete", "tag.restore", "manifest.restore", "run.restore", "trash.purge"}
)
_SIGN_INS = frozenset({"sign-in", "sign-out"})
# Kinds that users who administer nothing but their own can write as often as they like. Every other
# kind is the administrators', a new one as well.
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
    """The share of an event. `by_admin`: a system administrator, or the server, is the actor."""
    # Sign-ins that fail, while a directory is down, have names that callers make up.
    if outcome == "refused" or (kind in _SIGN_INS and outcome == "failed"):
        return Share.REFUSALS
    if kind in _SIGN_INS:
        return Share.SIGN_INS
    if kind in _CONTENT:
        return Share.CONTENT
    if kind in _OF_USERS and not by_admin:
        return Share.CHANGES
    return Share.ADMINISTRATION

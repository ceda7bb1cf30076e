"""Names of accounts, teams and credentials, parsed once where a request enters.

An account's name is the first part of its repositories' names. It has the grammar of such a part:
lower-case ASCII without characters that are special in a shell. Characters outside ASCII are never
folded into a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dtrfast.errors import AccountInvalid

ACCOUNT_LENGTH_MAX = 64
TEAM_LENGTH_MAX = 64
CREDENTIAL_LENGTH_MAX = 64

_match_part = re.compile(r"[a-z0-9]++(?:(?:\.|__?|-++)[a-z0-9]++)*+").fullmatch
_match_title = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]*[A-Za-z0-9])?").fullmatch

# Names that no account can have: `oidc` is the user name of jobs, the others are kinds of callers.
RESERVED = frozenset({"oidc", "anonymous", "system"})
# An error repeats this many characters of a refused text.
_SHOWN_LENGTH_MAX = 80


@dataclass(frozen=True, slots=True, order=True)
class AccountName:
    """A user's or an organization's name."""

    text: str

    @staticmethod
    def parse(text: str) -> AccountName:
        """Return the name if it is valid and not reserved. Raises `AccountInvalid`."""
        if not is_account_name(text):
            raise AccountInvalid(
                f"{text[:_SHOWN_LENGTH_MAX]!r} is not a name for an account: use 1 to"
                f" {ACCOUNT_LENGTH_MAX} lower-case letters and digits, joined by one '.', one or"
                " two '_' or any number of '-'"
            )
        if text in RESERVED:
            raise AccountInvalid(f"{text!r} is a reserved name: choose another name")
        return AccountName(text)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, order=True)
class TeamName:
    """A team's name inside its organization."""

    text: str

    @staticmethod
    def parse(text: str) -> TeamName:
        """Return the name if it is valid. Raises `AccountInvalid`."""
        if _match_part(text) is None or len(text) > TEAM_LENGTH_MAX:
            raise AccountInvalid(
                f"{text[:_SHOWN_LENGTH_MAX]!r} is not a name for a team: use 1 to {TEAM_LENGTH_MAX}"
                " lower-case letters and digits, joined by '.', '_' or '-'"
            )
        return TeamName(text)

    def __str__(self) -> str:
        return self.text


def is_account_name(text: str) -> bool:
    """Return True if `text` has the form of an account's name. It may be reserved."""
    return len(text) <= ACCOUNT_LENGTH_MAX and _match_part(text) is not None


def fold(text: str) -> str:
    """Return a text that a user typed to sign in, in lower case and without blanks at its ends.

    A text outside of ASCII is returned as it is: some letters, such as the Kelvin sign, are ASCII
    in lower case.
    """
    return text.strip().lower() if text.isascii() else text


def check_robot_name(text: str) -> str:
    """Return the name of a robot, without its organization's. Raises `AccountInvalid`."""
    if _match_part(text) is None or len(text) > CREDENTIAL_LENGTH_MAX:
        raise AccountInvalid(
            f"{text[:_SHOWN_LENGTH_MAX]!r} is not a name for a robot: use 1 to"
            f" {CREDENTIAL_LENGTH_MAX} lower-case letters and digits, joined by '.', '_' or '-'"
        )
    return text


def check_title(text: str) -> str:
    """Return the name that a user gives a token. Raises `AccountInvalid`."""
    if _match_title(text) is None or len(text) > CREDENTIAL_LENGTH_MAX:
        raise AccountInvalid(
            f"{text[:_SHOWN_LENGTH_MAX]!r} is not a name for a token: use 1 to"
            f" {CREDENTIAL_LENGTH_MAX} letters, digits, spaces, '.', '_' or '-'"
        )
    return text

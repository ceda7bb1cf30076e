"""Names of accounts, teams and credentials: parsed once where a request enters.

An account's name is the first part of its repositories' names, so its grammar is that of such a
part: lower-case ASCII that means nothing to a shell. No two names look alike but for their case,
and nothing outside ASCII is ever folded into one.
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

# What a name cannot be: `oidc` signs in with an issuer's token, the others stand for no account.
RESERVED = frozenset({"oidc", "anonymous", "system"})
# As much of a refused text as a message repeats.
_SHOWN_LENGTH_MAX = 80


@dataclass(frozen=True, slots=True, order=True)
class AccountName:
    """A user's or an organization's name."""

    text: str

    @staticmethod
    def parse(text: str) -> AccountName:
        """Raises `AccountInvalid`."""
        if not is_account_name(text):
            raise AccountInvalid(
                f"{text[:_SHOWN_LENGTH_MAX]!r} is not a name for an account: use 1 to"
                f" {ACCOUNT_LENGTH_MAX} lower-case letters and digits, joined by one '.', one or"
                " two '_' or any number of '-'"
            )
        if text in RESERVED:
            raise AccountInvalid(f"{text!r} has a meaning of its own: choose another name")
        return AccountName(text)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, order=True)
class TeamName:
    """A team's name inside its organization."""

    text: str

    @staticmethod
    def parse(text: str) -> TeamName:
        """Raises `AccountInvalid`."""
        if _match_part(text) is None or len(text) > TEAM_LENGTH_MAX:
            raise AccountInvalid(
                f"{text[:_SHOWN_LENGTH_MAX]!r} is not a name for a team: use 1 to {TEAM_LENGTH_MAX}"
                " lower-case letters and digits, joined by '.', '_' or '-'"
            )
        return TeamName(text)

    def __str__(self) -> str:
        return self.text


def is_account_name(text: str) -> bool:
    """Whether `text` has the form of an account's name."""
    return len(text) <= ACCOUNT_LENGTH_MAX and _match_part(text) is not None


def fold(text: str) -> str:
    """What somebody typed to sign in, as a name is spelt: lower case, for ASCII only.

    Unicode has letters that become ASCII in lower case, such as the Kelvin sign: they stay.
    """
    return text.strip().lower() if text.isascii() else text


def check_robot_name(text: str) -> str:
    """The part of a robot's name behind its organization's. Raises `AccountInvalid`."""
    if _match_part(text) is None or len(text) > CREDENTIAL_LENGTH_MAX:
        raise AccountInvalid(
            f"{text[:_SHOWN_LENGTH_MAX]!r} is not a name for a robot: use 1 to"
            f" {CREDENTIAL_LENGTH_MAX} lower-case letters and digits, joined by '.', '_' or '-'"
        )
    return text


def check_title(text: str) -> str:
    """What somebody calls a credential of theirs. Raises `AccountInvalid`."""
    if _match_title(text) is None or len(text) > CREDENTIAL_LENGTH_MAX:
        raise AccountInvalid(
            f"{text[:_SHOWN_LENGTH_MAX]!r} is not a name for a token: use 1 to"
            f" {CREDENTIAL_LENGTH_MAX} letters, digits, spaces, '.', '_' or '-'"
        )
    return text

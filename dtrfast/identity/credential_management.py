"""Stored credentials, as their owners manage them: tokens of users, robots of organizations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dtrfast.errors import AccountInvalid, FieldProblem
from dtrfast.identity import accounts, settings, tokens
from dtrfast.identity.records import Account, AccountKind, Bound, Token, TokenKind, TokenUse
from dtrfast.identity.tokens import NewToken
from dtrfast.identity.use_case import UseCase
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.registry import listing
from dtrfast.registry.listing import Columns, Listing, ListRequest

_DAY_SECONDS = 86_400
_OWNERS: dict[TokenKind, AccountKind] = {"personal": "user", "robot": "organization"}


@dataclass(frozen=True, slots=True)
class Credential:
    """A stored token. `sign_in_name` is the user name to sign in with.

    `text` is the secret. The server knows it only when it creates the token; else it is empty.
    """

    token: Token
    sign_in_name: str
    last_use: TokenUse | None
    text: str = ""


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A token to create. `expires_days` 0: it never expires; None: the default of the settings."""

    name: str
    bounds: tuple[Bound, ...] = ()
    expires_days: int | None = None


_COLUMNS: Columns[Credential] = {
    "name": lambda one: one.token.name,
    "created": lambda one: one.token.created_at,
    "expires": lambda one: one.token.expires_at,
    "used": lambda one: 0 if one.last_use is None else one.last_use.at,
}


class CredentialManagement(UseCase):
    """Stored tokens, for one caller. `kind` is personal or robot.

    A user manages its own tokens, an owner those of the organization's robots. All methods raise
    `AccountUnknown` and `AccessRefused`.
    """

    def page(self, kind: TokenKind, owner_name: str, request: ListRequest) -> Listing[Credential]:
        """Return a page of an account's tokens. Tokens that never expire, or were never used, sort
        as the earliest.
        """
        with self._engine.read() as transaction:
            owner = self._owner(transaction, kind, owner_name)
            found = list(tokens.of_account(transaction, owner.id, kind))
            uses = tokens.last_uses(transaction, [token.id for token in found])
            shown = (Credential(t, _sign_in_name(owner, t), uses.get(t.id)) for t in found)
            return listing.whole(shown, request, _COLUMNS)

    def create(self, kind: TokenKind, owner_name: str, new: NewCredential) -> Credential:
        """Create a token. Raises `AccountInvalid`, `Conflict`.

        A robot has no rights but its scopes. It needs at least one, and all of them must be in its
        organization. A personal token without scopes may do all that its user may.
        """
        if kind == "robot":
            _check_bounds_of_robot(new.bounds, owner_name)
        author = self._author()
        days = new.expires_days
        if days is None:
            with self._engine.read() as transaction:
                days = settings.read(transaction).token_days_default
        expires_at = author.now + days * _DAY_SECONDS if days else 0
        made = NewToken.make(kind, new.name, new.bounds, expires_at)

        def change(transaction: WriteTransaction) -> Credential:
            owner = self._owner(transaction, kind, owner_name)
            token = tokens.create(transaction, author, owner, made)
            return Credential(token, _sign_in_name(owner, token), None, made.text)

        return self._engine.write(change)

    def revoke(self, kind: TokenKind, owner_name: str, name: str) -> None:
        """Revoke the token with this name or id. Raises `CredentialUnknown`, `Conflict`."""
        author = self._author()

        def change(transaction: WriteTransaction) -> None:
            owner = self._owner(transaction, kind, owner_name)
            token = tokens.get(transaction, owner, kind, name)
            tokens.remove(transaction, author, token)

        self._engine.write(change)

    def _owner(self, transaction: ReadTransaction, kind: TokenKind, name: str) -> Account:
        """Return an account whose tokens the caller may manage."""
        owner = accounts.get(transaction, name, _OWNERS[kind])
        if kind == "personal":
            self._permits.require_self(transaction, owner)
        else:
            self._permits.require_owner(transaction, owner)
        return owner


def _check_bounds_of_robot(bounds: Sequence[Bound], owner_name: str) -> None:
    """Raise `AccountInvalid` unless there are bounds, all in the robot's organization."""
    only = f"a robot of {owner_name} has scopes for {owner_name} and below {owner_name}/ only"
    problems = [
        FieldProblem(f"scopes[{number}]", only)
        for number, bound in enumerate(bounds)
        if bound.repository != owner_name and not bound.repository.startswith(f"{owner_name}/")
    ]
    if not bounds:
        reason = "give the robot at least one scope: it has no rights but its scopes"
        problems.append(FieldProblem("scopes", reason))
    if problems:
        raise AccountInvalid.of(problems)


def _sign_in_name(owner: Account, token: Token) -> str:
    return tokens.robot_name(owner.name, token.name) if token.kind == "robot" else owner.name

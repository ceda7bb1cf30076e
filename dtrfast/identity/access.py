"""The access decision: the only place that decides the actions of a caller on a repository.

`decide_each` decides all actions, for many repositories at once. It reads accounts, teams, grants
and repositories from the transaction of the answer. `CallerPermits` keeps its verdicts for one
value of the access epoch, which it reads in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dtrfast.errors import TokenInvalid
from dtrfast.identity import accounts, tokens, trusts
from dtrfast.identity.bounds import actions_on
from dtrfast.identity.callers import Caller
from dtrfast.identity.records import Account, Bound, Token
from dtrfast.identity.standing import (
    NO_STANDING,
    ROOT,
    AccountStanding,
    Subjects,
    rights_each,
    standing_of,
)
from dtrfast.index.engine import ReadTransaction
from dtrfast.oci.names import RepositoryName
from dtrfast.registry.permits import EVERYTHING, NOTHING, Action


@dataclass(frozen=True, slots=True)
class Verdict:
    """The actions that a caller may do with a repository.

    `rights` are the actions of the account. `held` are those of `rights` that its stored token
    allows. `allowed` are those of `held` that this credential allows: a client may have requested
    an access token for fewer.
    """

    rights: Action
    held: Action
    allowed: Action


@dataclass(frozen=True, slots=True)
class Proof:
    """The account and the stored token that prove a caller, as they are in the index now.

    An access token that was issued for a stored token has the bounds of both.
    """

    account: Account | None = None
    token: Token | None = None

    def standing(self, transaction: ReadTransaction) -> AccountStanding:
        """Return the standing of the account; `NO_STANDING` without an account."""
        return NO_STANDING if self.account is None else standing_of(transaction, self.account)

    @property
    def bounds(self) -> tuple[Bound, ...] | None:
        """The scopes of the stored token; None if it has none."""
        if self.token is None:
            return None
        return self.token.bounds if self.token.bounds or self.token.kind == "robot" else None

    def bounds_on(self, name: str) -> Action:
        """Return the actions that the stored token allows on a repository. A robot has none outside
        of its organization.
        """
        if self.bounds is None:
            return EVERYTHING
        assert self.token is not None
        assert self.account is not None
        if self.token.kind == "robot" and RepositoryName(name).owner != self.account.name:
            return NOTHING
        return actions_on(self.bounds, name)


@dataclass(frozen=True, slots=True)
class CallerState:
    """The part that all verdicts on a caller share. It is valid for one access epoch."""

    proof: Proof
    standing: AccountStanding


def prove(transaction: ReadTransaction, caller: Caller) -> Proof:
    """Return the proof of a caller. Raises `TokenInvalid` if its credential has ended."""
    if caller.job is not None:
        trusts.confirm(transaction, caller.job)
    if caller.account_id == 0:
        return Proof()
    # Only administrators may learn that an account is inactive.
    refusal = TokenInvalid(caller.ended)
    account = accounts.find_id(transaction, caller.account_id)
    if account is None or not account.is_active:
        raise refusal
    if caller.method == "bearer" and caller.kind == "user" and caller.actor != account.name:
        # Changes would be recorded under a name that another account may have by now.
        raise TokenInvalid("the account has another name now: ask for a new token")
    if caller.token_id == 0:
        if account.generation != caller.generation:
            raise refusal
        return Proof(account)
    token = tokens.find_id(transaction, caller.account_id, caller.token_id)
    if token is None:
        raise refusal
    return Proof(account, token)


def state_of(transaction: ReadTransaction, caller: Caller) -> CallerState:
    """Return the state of a caller. Raises `TokenInvalid`."""
    proof = prove(transaction, caller)
    return CallerState(
        proof, NO_STANDING if caller.kind == "robot" else proof.standing(transaction)
    )


def standing(transaction: ReadTransaction, caller: Caller) -> AccountStanding:
    """Return the standing of the caller's account; `NO_STANDING` for a bounded credential.

    Raises `TokenInvalid`.
    """
    if caller.kind == "system":
        return ROOT
    proof = prove(transaction, caller)
    return NO_STANDING if caller.is_bounded else proof.standing(transaction)


def decide_each(
    transaction: ReadTransaction,
    caller: Caller,
    names: Sequence[RepositoryName],
    state: CallerState | None = None,
) -> list[Verdict]:
    """Return the verdicts on repositories, in the order of their names. They need not exist.

    `state` is that of the caller in this access epoch, if it is at hand. Raises `TokenInvalid`.
    """
    if caller.kind == "system":
        return [Verdict(EVERYTHING, EVERYTHING, EVERYTHING)] * len(names)
    subjects = Subjects.read(transaction, names)
    # A credential must not remove the right to pull public repositories.
    public = rights_each(transaction, NO_STANDING, subjects)
    if caller.job is not None:
        prove(transaction, caller)
        trusted = [trusts.rights(transaction, caller.trusts, caller.job, name) for name in names]
        rights = held = [t | p for t, p in zip(trusted, public, strict=True)]
    else:
        state = state or state_of(transaction, caller)
        within = [state.proof.bounds_on(n.text) | p for n, p in zip(names, public, strict=True)]
        if caller.kind == "robot":
            rights = held = within
        else:
            rights = rights_each(transaction, state.standing, subjects)
            held = [r & w for r, w in zip(rights, within, strict=True)]
    return [
        Verdict(r, h, h if caller.bounds is None else h & actions_on(caller.bounds, name.text))
        for r, h, name in zip(rights, held, names, strict=True)
    ]

"""Who may do what: the one place that decides.

`decide` is the identity seam's `allowed(caller, action, repository)` for all actions at once. It
reads accounts, teams, grants and the repository from the caller's transaction. `CallerPermits`
keeps what it answered for one value of the access epoch, which it reads in the same transaction.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from operator import or_

from dtrfast.errors import (
    Denied,
    DtrfastError,
    RepositoryHidden,
    ScopeTooSmall,
    SignInRequired,
    TokenInvalid,
)
from dtrfast.identity import accounts, destinations, grants, settings, teams, tokens, trusts
from dtrfast.identity.bounds import actions_on, pulled
from dtrfast.identity.callers import Caller
from dtrfast.identity.destinations import Destination
from dtrfast.identity.records import Account, Bound, Token
from dtrfast.index import epoch
from dtrfast.index.engine import ReadTransaction, Table
from dtrfast.index.tables import CATALOG, PUBLIC, REPOSITORIES, REPOSITORY_NAMES, number_key
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import ownership, repositories
from dtrfast.registry.ownership import Claim
from dtrfast.registry.permits import EVERYTHING, NOTHING, Action
from dtrfast.registry.records import RepositoryRecord

# Verdicts that one caller's permits keep. An entry takes about 150 bytes.
_VERDICTS_MAX = 4096


@dataclass(frozen=True, slots=True)
class Standing:
    """What an account is, whatever the repository. `grantees`: itself and its teams."""

    is_admin: bool = False
    account_id: int = 0
    owned: frozenset[int] = frozenset()  # namespaces: its own, and organizations that it owns
    grantees: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The actions that a caller may do with a repository.

    `rights` are the account's. `held` are those that the stored token leaves of them, and `allowed`
    those that this credential does: an access token may be asked for less than is held.
    """

    rights: Action
    held: Action
    allowed: Action


NOBODY = Standing()
_ROOT = Standing(is_admin=True)


def standing_of(transaction: ReadTransaction, account: Account) -> Standing:
    """What a user is, from the tables of accounts and teams."""
    memberships = teams.memberships(transaction, account.id)
    owned = {m.organization_id for m in memberships if m.is_owner}
    return Standing(
        is_admin=account.is_admin,
        account_id=account.id,
        owned=frozenset({account.id, *owned}),
        grantees=(account.id, *(m.team_id for m in memberships)),
    )


def rights(transaction: ReadTransaction, standing: Standing, name: RepositoryName) -> Action:
    """What somebody of this standing may do with a repository, which need not be there."""
    record = repositories.record(transaction, name)
    if standing.is_admin:
        return EVERYTHING
    namespace = namespace_of(transaction, name)
    if record is None:
        return _rights_to_make(transaction, standing, namespace)
    granted = Action.PULL if record.is_public else NOTHING
    if namespace is not None and namespace.id in standing.owned:
        return EVERYTHING
    return granted | _granted(transaction, standing, namespace, record)


def namespace_of(transaction: ReadTransaction, name: RepositoryName) -> Account | None:
    """The account that the repository belongs to: the one of the first part of its name, which may
    be all of it. None if it is the registry's own.
    """
    return accounts.find(transaction, name.owner)


def rights_in_namespace(
    transaction: ReadTransaction, standing: Standing, namespace: Account
) -> Action:
    """What somebody may do with every repository of a namespace; ADMIN: also make and delete."""
    if standing.is_admin or namespace.id in standing.owned:
        return EVERYTHING
    place = grants.namespace_place(namespace.id)
    return _sum(grants.get(transaction, place, g).actions for g in standing.grantees)


def _rights_to_make(
    transaction: ReadTransaction, standing: Standing, namespace: Account | None
) -> Action:
    """A repository that is not there looks to others as one that they may not see."""
    if namespace is None:
        return NOTHING
    in_namespace = rights_in_namespace(transaction, standing, namespace)
    if Action.ADMIN not in in_namespace:
        return NOTHING
    return EVERYTHING


def _granted(
    transaction: ReadTransaction,
    standing: Standing,
    namespace: Account | None,
    record: RepositoryRecord,
) -> Action:
    places = [grants.repository_place(record.id)]
    if namespace is not None:
        places.append(grants.namespace_place(namespace.id))
    return _sum(
        grants.get(transaction, place, grantee).actions
        for place in places
        for grantee in standing.grantees
    )


def _sum(actions: Iterable[Action]) -> Action:
    return reduce(or_, actions, NOTHING)


# ---- callers ---------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Known:
    """What all verdicts on a caller have in common; it holds for one access epoch."""

    proof: Proof
    standing: Standing


def know(transaction: ReadTransaction, caller: Caller) -> Known:
    """Raises `TokenInvalid` when the caller's credential no longer holds."""
    proof = hold(transaction, caller)
    return Known(proof, NOBODY if caller.kind == "robot" else proof.standing(transaction))


def decide(
    transaction: ReadTransaction, caller: Caller, name: RepositoryName, known: Known | None = None
) -> Verdict:
    """What a caller may do with a repository. Raises `TokenInvalid` when its credential no longer
    holds.
    """
    bounded = EVERYTHING if caller.bounds is None else actions_on(caller.bounds, name.text)
    if caller.job is not None:
        hold(transaction, caller)
        trusted = trusts.rights(transaction, caller.trusts, caller.job, name)
        found = trusted | rights(transaction, NOBODY, name)
        return Verdict(found, found, found & bounded)
    if caller.kind == "system":
        return Verdict(EVERYTHING, EVERYTHING, EVERYTHING)
    known = known or know(transaction, caller)
    # What everybody may pull, nobody is kept from by saying who they are.
    within = known.proof.bounds_on(name.text) | rights(transaction, NOBODY, name)
    if caller.kind == "robot":
        return Verdict(within, within, within & bounded)
    found = rights(transaction, known.standing, name)
    held = found & within
    return Verdict(found, held, held & bounded)


def standing(transaction: ReadTransaction, caller: Caller) -> Standing:
    """The account's standing, which a bounded credential does not have.

    Raises `TokenInvalid` when the caller's credential no longer holds.
    """
    if caller.kind == "system":
        return _ROOT
    proof = hold(transaction, caller)
    return NOBODY if caller.is_bounded else proof.standing(transaction)


@dataclass(frozen=True, slots=True)
class Proof:
    """What proves a caller, as it is now: an account, and the stored token that it came with.

    An access token that was made with a stored one is bounded by both.
    """

    account: Account | None = None
    token: Token | None = None

    def standing(self, transaction: ReadTransaction) -> Standing:
        return NOBODY if self.account is None else standing_of(transaction, self.account)

    @property
    def bounds(self) -> tuple[Bound, ...] | None:
        """Of the stored token; None where it has none."""
        token = self.token
        return (
            token.bounds if token is not None and (token.bounds or token.kind == "robot") else None
        )

    def bounds_on(self, name: str) -> Action:
        """What the stored token leaves of a repository. A robot stays in its organization."""
        if self.bounds is None:
            return EVERYTHING
        assert self.token is not None
        assert self.account is not None
        if self.token.kind == "robot" and RepositoryName(name).owner != self.account.name:
            return NOTHING
        return actions_on(self.bounds, name)


def hold(transaction: ReadTransaction, caller: Caller) -> Proof:
    """What proves the caller, if it still counts. Raises `TokenInvalid`."""
    if caller.job is not None:
        trusts.confirm(transaction, caller.job)
    if caller.account_id == 0:
        return Proof()
    # That an account is inactive is told to administrators only.
    refusal = TokenInvalid(caller.ended)
    account = accounts.find_id(transaction, caller.account_id)
    if account is None or not account.is_active:
        raise refusal
    if caller.method == "bearer" and caller.kind == "user" and caller.actor != account.name:
        # Its changes would be another account's, if one gets the name.
        raise TokenInvalid("the account has another name now: ask for a new token")
    if caller.token_id == 0:
        if account.generation != caller.generation:
            raise refusal
        return Proof(account)
    token = tokens.find_id(transaction, caller.account_id, caller.token_id)
    if token is None:
        raise refusal
    return Proof(account, token)


class CallerPermits:
    """A caller's `Permits`. Safe from many threads."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.actor = caller.actor
        self.upload_owner = caller.upload_owner
        # The epoch that the verdicts are of. Replaced as one, so that no thread mixes two.
        self._kept: tuple[bytes, dict[str, Verdict], Known | None] = (b"none", {}, None)

    def verdict(self, transaction: ReadTransaction, name: RepositoryName) -> Verdict:
        """`decide`, kept for one epoch. Raises `TokenInvalid`."""
        now = epoch.read(transaction)
        kept = self._kept
        if kept[0] != now or len(kept[1]) >= _VERDICTS_MAX:
            is_proved = self.caller.kind not in ("job", "system")
            known = know(transaction, self.caller) if is_proved else None
            kept = self._kept = (now, {}, known)
        found = kept[1].get(name.text)
        if found is None:
            found = kept[1][name.text] = decide(transaction, self.caller, name, kept[2])
        return found

    def makes_public(self, transaction: ReadTransaction) -> bool:
        """See `Permits.makes_public`."""
        return settings.read(transaction).public_on_push

    def confirm(self, transaction: ReadTransaction) -> None:
        """See `Permits.confirm`."""
        hold(transaction, self.caller)

    def claim(self, transaction: ReadTransaction, name: RepositoryName) -> Claim:
        """See `Permits.claim`. System administrators have all of it."""
        if standing(transaction, self.caller).is_admin:
            return ownership.ALL
        account = namespace_of(transaction, name)
        if account is None:
            return Claim(ownership.REGISTRY)
        return Claim(account.id, account.created_at)

    def check(self, transaction: ReadTransaction, action: Action, name: RepositoryName) -> None:
        """See `Permits.check`."""
        verdict = self.verdict(transaction, name)
        if action not in verdict.allowed:
            raise self._with_hint(transaction, action, self._refusal(verdict, action, name))
        if action is Action.PUSH and repositories.find(transaction, name) is None:
            self._check_makes(transaction, name)

    def may(self, transaction: ReadTransaction, action: Action, name: RepositoryName) -> bool:
        return action in self.verdict(transaction, name).allowed

    def visible(self, transaction: ReadTransaction, after: bytes) -> Iterator[bytes]:
        """See `Permits.visible`. Raises `TokenInvalid`."""
        return visible_to_caller(transaction, self, after)

    def _check_makes(self, transaction: ReadTransaction, name: RepositoryName) -> None:
        """Raise `Denied` where a push makes no repository."""
        given = settings.read(transaction)
        refusal: DtrfastError | None = None
        if not given.create_on_push:
            refusal = Denied(f"there is no repository {name}: make it before you push")
        elif not given.create_namespace_on_push and _begins_namespace(transaction, name):
            refusal = Denied(
                f"there is no account {name.owner} and no repository of that namespace: "
                f"check the spelling, or make {name} before you push"
            )
        if refusal is not None:
            raise self._with_hint(transaction, Action.PUSH, refusal)

    def _refusal(self, verdict: Verdict, action: Action, name: RepositoryName) -> DtrfastError:
        word = str(action.name).lower()
        if self.caller.kind == "anonymous":
            return SignInRequired(
                f"you are not signed in: `docker login` or the like comes before {word} in {name}"
            )
        if not verdict.held:
            has_scopes = self._kept[2] is not None and self._kept[2].proof.bounds is not None
            who = "this token" if has_scopes else "you"
            return RepositoryHidden(f"there is no repository {name}, or {who} may not know of it")
        if action not in verdict.rights:
            return Denied(f"you may not {word} in {name}: ask one of its administrators")
        if action not in verdict.held:
            return Denied(f"this token may not {word} in {name}: use one that may")
        return ScopeTooSmall(f"this token does not cover {word} in {name}")

    def _with_hint(
        self, transaction: ReadTransaction, action: Action, error: DtrfastError
    ) -> DtrfastError:
        """The refusal of a push with the places where the caller may push."""
        is_told = isinstance(error, Denied | RepositoryHidden) and action is Action.PUSH
        if not is_told:
            return error
        hint = _destinations(transaction, self.caller)
        return type(error)(error.message, detail=error.detail, advice=hint)


def _begins_namespace(transaction: ReadTransaction, name: RepositoryName) -> bool:
    """True if there is neither an account nor a repository of this namespace. A name of one part,
    such as `tools`, has none.
    """
    if "/" not in name.text or accounts.find(transaction, name.owner) is not None:
        return False
    return not accounts.owns_repositories(transaction, name.owner)


def _destinations(transaction: ReadTransaction, caller: Caller) -> str:
    """Say where a caller may push, whatever an access token was asked for."""
    if caller.job is not None:
        named = trusts.names_of(transaction, caller.trusts)
        names = (RepositoryName(name.decode()) for name in named)
        pushed = (
            name
            for name in names
            if Action.PUSH in trusts.rights(transaction, caller.trusts, caller.job, name)
        )
        return destinations.in_words(Destination(n.text, makes=False) for n in pushed)
    known = know(transaction, caller)
    who, is_whole = known.standing, True
    if who.is_admin or caller.kind == "system":
        found = [destinations.EVERYWHERE]
    else:
        owned = {caller.account_id} if caller.kind == "robot" else who.owned
        found, is_whole = destinations.of_account(transaction, sorted(owned), who.grantees)
    if known.proof.bounds is not None:
        found = destinations.within(found, known.proof.bounds)
    return destinations.in_words(found, is_whole=is_whole)


# ---- lists -----------------------------------------------------------------------------------
def visible_to_caller(
    transaction: ReadTransaction,
    permits: CallerPermits,
    after: bytes,
    *,
    with_empty: bool = False,
) -> Iterator[bytes]:
    """Names of the repositories that a caller may pull from, in order: of those that hold
    something, or of all.

    Costs what is taken of it, and the number of the caller's grants.
    """
    caller = permits.caller
    names = _Names(transaction, REPOSITORIES if with_empty else CATALOG, after)
    if caller.kind == "system":
        return names.below(b"")
    if caller.kind == "job":
        hold(transaction, caller)
        trusted = trusts.names_of(transaction, caller.trusts)
        found = _unique(heapq.merge(names.public(), names.held(trusted)))
        return (n for n in found if names.is_public(n) or _may_list(transaction, permits, n))
    proof = hold(transaction, caller)
    patterns = _patterns_of(transaction, caller, proof)
    # An access token for lists shows what the stored token does.
    for bounds in (proof.bounds, None if caller.lists else caller.bounds):
        if bounds is not None:
            patterns = pulled(patterns, bounds)
    return names.covered(patterns)


def _may_list(transaction: ReadTransaction, permits: CallerPermits, name: bytes) -> bool:
    verdict = permits.verdict(transaction, RepositoryName(name.decode()))
    return Action.PULL in (verdict.held if permits.caller.lists else verdict.allowed)


def _patterns_of(transaction: ReadTransaction, caller: Caller, proof: Proof) -> Iterable[str]:
    """The repositories that an account may pull from besides public ones, as scopes name them: its
    namespaces, and what it was granted. Those of a robot's organization.
    """
    if caller.kind == "robot":
        return destinations.patterns_of(transaction, [caller.account_id])
    who = proof.standing(transaction)
    if who.is_admin:
        return ["*"]
    namespaces = set(who.owned)
    granted: list[str] = []
    for grantee in who.grantees:
        for place, _ in grants.of_grantee(transaction, grantee):
            if grants.is_namespace(place):
                namespaces.add(place.id)
            else:
                name = transaction.get(REPOSITORY_NAMES, number_key(place.id))
                granted.append("" if name is None else name.decode())  # "": it is in the trash
    return chain(granted, destinations.patterns_of(transaction, namespaces))


@dataclass(frozen=True, slots=True)
class _Names:
    """A table of names, from somewhere on."""

    transaction: ReadTransaction
    table: Table
    after: bytes

    def below(self, prefix: bytes) -> Iterator[bytes]:
        return (n for n, _ in self.transaction.scan(self.table, prefix, after=self.after))

    def covered(self, patterns: Iterable[str]) -> Iterator[bytes]:
        """Those that some scopes' repositories name, and public ones."""
        unique = set(patterns)
        whole = sorted(pattern.encode() for pattern in unique if not pattern.endswith("*"))
        prefixes: list[str] = []
        for prefix in sorted(pattern[:-1] for pattern in unique if pattern.endswith("*")):
            if not prefixes or not prefix.startswith(prefixes[-1]):  # else it has no more
                prefixes.append(prefix)
        sources = (self.below(prefix.encode()) for prefix in prefixes)
        return _unique(heapq.merge(self.public(), self.held(whole), *sources))

    def is_public(self, name: bytes) -> bool:
        return self.transaction.get(PUBLIC, name) is not None

    def public(self) -> Iterator[bytes]:
        return self.held(n for n, _ in self.transaction.scan(PUBLIC, after=self.after))

    def held(self, names: Iterable[bytes]) -> Iterator[bytes]:
        """Those of `names` that are in the table."""
        return (
            n for n in names if n > self.after and self.transaction.get(self.table, n) is not None
        )


def _unique(names: Iterable[bytes]) -> Iterator[bytes]:
    last = b""
    for name in names:
        if name != last:
            last = name
            yield name

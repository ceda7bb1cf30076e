"""A caller's permits: the implementation of the identity seam (`dtrfast.registry.permits`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dtrfast.errors import (
    AccessRefused,
    DtrfastError,
    RepositoryHidden,
    ScopeTooSmall,
    SignInRequired,
)
from dtrfast.identity import access, accounts, destinations, settings, trusts, visible
from dtrfast.identity.access import CallerState, Verdict
from dtrfast.identity.callers import Caller
from dtrfast.identity.destinations import Destination
from dtrfast.identity.records import Account
from dtrfast.identity.standing import AccountStanding, namespace_of, rights_in_namespace
from dtrfast.index import epoch
from dtrfast.index.engine import ReadTransaction
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import ownership, repositories
from dtrfast.registry.ownership import Claim
from dtrfast.registry.permits import Action, Namespace

# Verdicts that one caller's permits keep: those of the largest page. Each takes about 150 bytes.
_VERDICTS_MAX = 1024


class CallerPermits:
    """A caller's `Permits`. Safe from many threads.

    Create it once for a caller, not once for each check: it keeps the verdicts of an access epoch.
    """

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.actor = caller.actor
        self.upload_owner = caller.upload_owner
        # The epoch of the verdicts, the verdicts, and the caller's state. One assignment replaces
        # all of them, so that no thread mixes two epochs.
        self._kept: tuple[bytes, dict[str, Verdict], CallerState | None] = (b"none", {}, None)

    # ---- on repositories ---------------------------------------------------------------------
    def verdict(self, transaction: ReadTransaction, name: RepositoryName) -> Verdict:
        """Return the verdict on one repository. Raises `TokenInvalid`."""
        return self.verdicts(transaction, [name])[0]

    def verdicts(
        self, transaction: ReadTransaction, names: Sequence[RepositoryName]
    ) -> list[Verdict]:
        """Return the verdicts on repositories, in the order of their names. Raises `TokenInvalid`.

        Verdicts of the same access epoch are kept, up to a bound.
        """
        now = epoch.read(transaction)
        of_epoch = self._kept
        if of_epoch[0] != now or len(of_epoch[1]) + len(names) > _VERDICTS_MAX:
            is_proved = self.caller.kind not in ("job", "system")
            new_state = access.state_of(transaction, self.caller) if is_proved else None
            of_epoch = self._kept = (now, {}, new_state)
        _, kept, state = of_epoch
        missing = [name for name in names if name.text not in kept]
        if missing:
            found = access.decide_each(transaction, self.caller, missing, state)
            kept.update((n.text, verdict) for n, verdict in zip(missing, found, strict=True))
        return [kept[name.text] for name in names]

    def allowed(
        self, transaction: ReadTransaction, names: Sequence[RepositoryName]
    ) -> list[Action]:
        """See `Permits.allowed`."""
        return [verdict.allowed for verdict in self.verdicts(transaction, names)]

    def may(self, transaction: ReadTransaction, action: Action, name: RepositoryName) -> bool:
        """See `Permits.may`."""
        return action in self.verdict(transaction, name).allowed

    def check(self, transaction: ReadTransaction, action: Action, name: RepositoryName) -> None:
        """See `Permits.check`."""
        verdict = self.verdict(transaction, name)
        if action not in verdict.allowed:
            raise self._with_hint(transaction, action, self._refusal(verdict, action, name))
        if action is not Action.PUSH or repositories.find(transaction, name) is not None:
            return
        # The settings may forbid a push to create the repository.
        given = settings.read(transaction)
        refusal: DtrfastError | None = None
        if not given.create_on_push:
            refusal = AccessRefused(f"there is no repository {name}: make it before you push")
        elif (
            not given.create_namespace_on_push
            and "/" in name.text  # a name of one part, such as `tools`, has no namespace
            and accounts.find(transaction, name.owner) is None
            and not accounts.owns_repositories(transaction, name.owner)
        ):
            refusal = AccessRefused(
                f"there is no account {name.owner} and no repository of that namespace: "
                f"check the spelling, or make {name} before you push"
            )
        if refusal is not None:
            raise self._with_hint(transaction, Action.PUSH, refusal)

    def visible(
        self, transaction: ReadTransaction, after: bytes, *, with_empty: bool = False
    ) -> Iterator[bytes]:
        """See `Permits.visible`. Raises `TokenInvalid`."""

        def may_list(name: bytes) -> bool:
            verdict = self.verdict(transaction, RepositoryName(name.decode()))
            return Action.PULL in (verdict.held if self.caller.lists else verdict.allowed)

        return visible.names(transaction, self.caller, after, may_list, with_empty=with_empty)

    def makes_public(self, transaction: ReadTransaction) -> bool:
        """See `Permits.makes_public`."""
        return settings.read(transaction).public_on_push

    # ---- on namespaces -----------------------------------------------------------------------
    def namespaces(
        self, transaction: ReadTransaction, owners: Iterable[str]
    ) -> dict[str, Namespace]:
        """See `Permits.namespaces`."""
        found = ((owner, accounts.find(transaction, owner)) for owner in dict.fromkeys(owners))
        return {
            owner: Namespace(account.id, account.kind)
            for owner, account in found
            if account is not None
        }

    def owned_names(self, transaction: ReadTransaction) -> frozenset[str]:
        """See `Permits.owned_names`."""
        numbers = self.standing(transaction).owned
        found = (accounts.find_id(transaction, number) for number in numbers)
        return frozenset(account.name for account in found if account is not None)

    def require_account(self, transaction: ReadTransaction, name: str) -> Account:
        """See `Permits.require_account`."""
        return accounts.get(transaction, name)

    def administers(self, transaction: ReadTransaction, namespace: str) -> bool:
        """See `Permits.administers`."""
        standing = self.standing(transaction)
        account = accounts.find(transaction, namespace)
        if account is None:
            return standing.is_admin
        return Action.ADMIN in rights_in_namespace(transaction, standing, account)

    def check_namespace(self, transaction: ReadTransaction, name: RepositoryName) -> None:
        """See `Permits.check_namespace`."""
        self.standing(transaction)
        if namespace_of(transaction, name) is None:
            self.require_admin(transaction)
        elif not self.administers(transaction, name.owner):
            raise AccessRefused(
                f"only administrators of {name.owner} may create or delete its repositories"
            )

    def claim(self, transaction: ReadTransaction, name: RepositoryName) -> Claim:
        """See `Permits.claim`. System administrators have a claim to the whole past."""
        if access.standing(transaction, self.caller).is_admin:
            return ownership.ALL
        account = namespace_of(transaction, name)
        if account is None:
            return Claim(ownership.REGISTRY)
        return Claim(account.id, account.created_at)

    # ---- on the caller itself ----------------------------------------------------------------
    @property
    def is_user(self) -> bool:
        """See `Permits.is_user`."""
        return self.caller.kind != "anonymous" and not self.caller.is_bounded

    def confirm(self, transaction: ReadTransaction) -> None:
        """See `Permits.confirm`."""
        access.prove(transaction, self.caller)

    def is_admin(self, transaction: ReadTransaction) -> bool:
        """Return True for a system administrator, but not for a bounded credential of one."""
        return access.standing(transaction, self.caller).is_admin

    def standing(self, transaction: ReadTransaction) -> AccountStanding:
        """Return the standing of a signed-in user. Raises `SignInRequired`, `TokenInvalid`, and
        `AccessRefused` for a bounded credential.
        """
        if self.caller.kind == "anonymous":
            raise SignInRequired("sign in to do this")
        if self.caller.is_bounded:
            raise AccessRefused(
                "this token is for repositories: use one without scopes, or a password"
            )
        return access.standing(transaction, self.caller)

    def require_admin(self, transaction: ReadTransaction) -> AccountStanding:
        """Return the standing of a system administrator. Raises `AccessRefused` for others."""
        standing = self.standing(transaction)
        if not standing.is_admin:
            raise AccessRefused("only a system administrator may do this")
        return standing

    def require_self(self, transaction: ReadTransaction, user: Account) -> AccountStanding:
        """Return the standing of this user or of a system administrator. Raises `AccessRefused`."""
        standing = self.standing(transaction)
        if not standing.is_admin and standing.account_id != user.id:
            raise AccessRefused(f"only {user.name} and system administrators may do this")
        return standing

    def require_owner(self, transaction: ReadTransaction, organization: Account) -> AccountStanding:
        """Return the standing of an owner, or of a system administrator. Raises `AccessRefused`."""
        standing = self.standing(transaction)
        if not standing.is_admin and organization.id not in standing.owned:
            raise AccessRefused(f"only owners of {organization.name} may do this")
        return standing

    # ---- refusals ----------------------------------------------------------------------------
    def _refusal(self, verdict: Verdict, action: Action, name: RepositoryName) -> DtrfastError:
        """Return the error for an action that a verdict does not allow."""
        word = str(action.name).lower()
        if self.caller.kind == "anonymous":
            return SignInRequired(
                f"you are not signed in: sign in, as with `docker login`, to {word} in {name}"
            )
        if not verdict.held:
            state = self._kept[2]
            has_scopes = state is not None and state.proof.bounds is not None
            who = "this token" if has_scopes else "you"
            return RepositoryHidden(f"there is no repository {name}, or {who} may not know of it")
        if action not in verdict.rights:
            return AccessRefused(f"you may not {word} in {name}: ask one of its administrators")
        if action not in verdict.held:
            return AccessRefused(f"this token may not {word} in {name}: use one that may")
        return ScopeTooSmall(f"this token does not cover {word} in {name}")

    def _with_hint(
        self, transaction: ReadTransaction, action: Action, error: DtrfastError
    ) -> DtrfastError:
        """Return the error. A refusal of a push gets the places where the caller may push."""
        has_hint = isinstance(error, AccessRefused | RepositoryHidden) and action is Action.PUSH
        if not has_hint:
            return error
        # The places do not depend on the scopes of the caller's access token.
        caller, is_whole = self.caller, True
        if caller.job is not None:
            named = trusts.names_of(transaction, caller.trusts)
            names = [RepositoryName(name.decode()) for name in named]
            found = [
                Destination(name.text, makes=False)
                for name in names
                if Action.PUSH in trusts.rights(transaction, caller.trusts, caller.job, name)
            ]
        else:
            state = access.state_of(transaction, caller)
            standing = state.standing
            if standing.is_admin or caller.kind == "system":
                found = [destinations.EVERYWHERE]
            else:
                owned = sorted({caller.account_id} if caller.kind == "robot" else standing.owned)
                found, is_whole = destinations.of_account(transaction, owned, standing.grantees)
            if state.proof.bounds is not None:
                found = destinations.within(found, state.proof.bounds)
        hint = destinations.in_words(found, is_whole=is_whole)
        return type(error)(error.message, detail=error.detail, advice=hint)

"""Users and organizations, as administrators and owners manage them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import msgspec

from dtrfast.errors import AccessRefused, AccountInvalid, Conflict
from dtrfast.identity import accounts, grants, passwords, teams, tokens
from dtrfast.identity.account_views import AccountView, view_of
from dtrfast.identity.accounts import NewAccount
from dtrfast.identity.names import AccountName, TeamName
from dtrfast.identity.records import Account, AccountKind
from dtrfast.identity.teams import NewTeam
from dtrfast.identity.use_case import UseCase
from dtrfast.index.engine import WriteTransaction
from dtrfast.registry import listing
from dtrfast.registry.listing import Columns, Listing, ListRequest
from dtrfast.registry.pages import BoundedScan

_SEARCH_SECONDS_MAX = 0.02  # of CPU time
AccountSource = Literal["", "ldap", "local"]
_COLUMNS: Columns[Account] = {
    "name": lambda account: account.name,
    "created": lambda account: account.created_at,
}


@dataclass(frozen=True, slots=True)
class AccountDraft:
    """An account to create. A user without a password cannot sign in until it gets one."""

    name: AccountName
    kind: AccountKind = "user"
    password: str = ""
    full_name: str = ""
    is_admin: bool = False
    is_active: bool = True


@dataclass(frozen=True, slots=True)
class AccountChange:
    """The fields of an account to change. None: the field stays as it is."""

    full_name: str | None = None
    is_admin: bool | None = None


class AccountManagement(UseCase):
    """Users and organizations, for one caller.

    Methods that take a name raise `AccountUnknown`. All raise `SignInRequired`, `TokenInvalid` and
    `AccessRefused`.
    """

    def page(
        self, request: ListRequest, kind: str = "", source: AccountSource = ""
    ) -> Listing[AccountView]:
        """Return a page of accounts, of one kind (`user`, `organization`) and from one source.

        An empty kind or source means all of them.
        """
        with self._engine.read() as transaction:
            viewer = self._permits.standing(transaction)
            found = (
                account
                for account in accounts.scan(transaction, request.first)
                if kind in ("", account.kind)
                and (not source or bool(account.directory_id) == (source == "ldap"))
            )
            page = listing.by_name(found, request, _COLUMNS)
        return page.map(lambda account: view_of(account, viewer))

    def search(self, part: str, count: int) -> Listing[AccountView]:
        """Return up to `count` accounts with a text in their name or full name."""
        with self._engine.read() as transaction:
            viewer = self._permits.standing(transaction)
            scanned = BoundedScan(accounts.scan(transaction), _SEARCH_SECONDS_MAX)
            found = (a for a in scanned if part in a.name or part in a.full_name.lower())
            entries = [view_of(account, viewer) for account in islice(found, count)]
        return Listing(entries, is_exact=not scanned.is_cut)

    def get(self, name: str) -> AccountView:
        """Return an account."""
        with self._engine.read() as transaction:
            account = accounts.get(transaction, name)
            return view_of(account, self._permits.standing(transaction))

    def organizations_of(self, user_name: str, *, is_owned: bool = False) -> list[AccountView]:
        """Return a user's organizations, by name; with `is_owned`, only those that it owns."""
        with self._engine.read() as transaction:
            user = accounts.get(transaction, user_name, "user")
            viewer = self._permits.require_self(transaction, user)
            memberships = teams.memberships(transaction, user.id)
            numbers = {m.organization_id for m in memberships if m.is_owner or not is_owned}
            found = accounts.find_ids(transaction, sorted(numbers)).values()
            return [view_of(one, viewer) for one in sorted(found, key=lambda one: one.name)]

    # ---- changes -----------------------------------------------------------------------------
    def create(self, draft: AccountDraft) -> AccountView:
        """Create an account. The caller becomes the first owner of an organization. Raises
        `AccountInvalid`, `PasswordInvalid`, `Conflict`.
        """
        with self._engine.read() as transaction:
            self._permits.require_admin(transaction)
        if draft.kind == "organization" and (draft.password or draft.is_admin):
            raise AccountInvalid("an organization has neither a password nor a global role")
        password_hash = ""
        if draft.password:
            password = passwords.check_new(draft.password, draft.name.text)
            password_hash = passwords.hash_password(password)
        new = NewAccount(draft.name, draft.kind, is_admin=draft.is_admin, full_name=draft.full_name)
        author = self._author()

        def change(transaction: WriteTransaction) -> AccountView:
            viewer = self._permits.require_admin(transaction)
            account = accounts.create(transaction, author, new)
            if password_hash:
                accounts.remember_password(transaction, account, password_hash, author.now)
            if account.is_user and not draft.is_active:
                inactive = msgspec.structs.replace(account, is_active=False)
                accounts.put(transaction, author, account, inactive)
                account = accounts.get(transaction, account.name)
            if not account.is_user:
                team = NewTeam(TeamName(teams.OWNERS))
                owners = teams.create(transaction, author, account, team)
                creator = accounts.find_id(transaction, viewer.account_id)
                if creator is not None:
                    teams.add_member(transaction, author, account, owners, creator)
            return view_of(account, viewer)

        return self._engine.write(change)

    def create_missing(
        self, drafts: Sequence[AccountDraft], tell: Callable[[AccountDraft], None]
    ) -> tuple[list[str], list[str]]:
        """Create the users that do not exist. Return the created names, and those that existed.

        `tell` is called with each user after its creation.
        """
        with self._engine.read() as transaction:
            self._permits.require_admin(transaction)
            names = [draft.name for draft in drafts]
            taken = {n for n in names if accounts.find(transaction, n.text) is not None}
        created = []
        for draft in drafts:
            if draft.name not in taken:
                try:
                    self.create(draft)
                    created.append(draft.name.text)
                    tell(draft)
                except Conflict:
                    taken.add(draft.name)
        return created, sorted(name.text for name in taken)

    def update(self, name: str, change: AccountChange) -> AccountView:
        """Change an account. Raises `AccountInvalid`, `Conflict`.

        The user itself, an owner of the organization, or a system administrator may do so. Only
        system administrators may change the global role.
        """
        author = self._author()

        def apply(transaction: WriteTransaction) -> AccountView:
            old = new = accounts.get(transaction, name)
            require = self._permits.require_self if old.is_user else self._permits.require_owner
            viewer = require(transaction, old)
            if change.full_name is not None:
                new = msgspec.structs.replace(new, full_name=change.full_name)
            if change.is_admin is not None and change.is_admin != old.is_admin:
                if not viewer.is_admin:
                    raise AccessRefused("only a system administrator may change the global role")
                if not old.is_user:
                    raise AccountInvalid("an organization has no global role")
                new = msgspec.structs.replace(new, is_admin=change.is_admin)
            accounts.put(transaction, author, old, new)
            return view_of(new, viewer)

        return self._engine.write(apply)

    def set_active(self, name: str, *, is_active: bool) -> AccountView:
        """Activate a user, or deactivate it and end its sign-ins. Raises `Conflict` for the last
        administrator.
        """
        author = self._author()

        def change(transaction: WriteTransaction) -> AccountView:
            viewer = self._permits.require_admin(transaction)
            old = accounts.get(transaction, name, "user")
            new = msgspec.structs.replace(old, is_active=is_active)
            accounts.put(transaction, author, old, new)
            return view_of(accounts.get(transaction, old.name), viewer)

        return self._engine.write(change)

    def delete(self, name: str) -> None:
        """Delete a user, or an organization with its teams. Raises `Conflict` while the account has
        repositories, and for a last owner or administrator.
        """
        author = self._author()

        def change(transaction: WriteTransaction) -> None:
            self._permits.require_admin(transaction)
            account = accounts.get(transaction, name)
            if account.is_user:
                teams.leave_all(transaction, author, account)
                grants.remove_grantee(transaction, author, account.id)
            else:
                teams.delete_all(transaction, author, account)
            grants.remove_place(transaction, author, grants.namespace_place(account.id))
            tokens.remove_all(transaction, author, account)
            accounts.delete(transaction, author, account)

        self._engine.write(change)

    # ---- passwords ---------------------------------------------------------------------------
    def check_password_change(self, user_name: str) -> bool:
        """Check that the caller may change a user's password. Raises `AccessRefused`.

        Return True if the user is the caller, which must then prove the old password first.
        """
        with self._engine.read() as transaction:
            user = accounts.get(transaction, user_name, "user")
            return self._permits.require_self(transaction, user).account_id == user.id

    def set_password(self, user_name: str, password: str) -> AccountView:
        """Set a user's password; all its sign-ins end. Raises `PasswordInvalid`, `Conflict`."""
        password_hash = passwords.hash_password(passwords.check_new(password, user_name))
        author = self._author()

        def change(transaction: WriteTransaction) -> AccountView:
            user = accounts.get(transaction, user_name, "user")
            viewer = self._permits.require_self(transaction, user)
            accounts.set_password(transaction, author, user, password_hash)
            return view_of(user, viewer)

        return self._engine.write(change)

    def reset_password(self, user_name: str) -> str:
        """Set a random password, as an administrator, and return it. Raises `Conflict`."""
        with self._engine.read() as transaction:
            self._permits.require_admin(transaction)
            user = accounts.get(transaction, user_name, "user")
        password = passwords.make_random()
        self.set_password(user.name, password)
        return password

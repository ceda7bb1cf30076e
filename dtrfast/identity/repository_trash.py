"""Deleted repositories: the accounts that they still belong to, and the way back.

The trash keeps the id of the account that a repository was deleted from. Another account that has
the name by now, or the same name again, has no right to it; system administrators have.
"""

from __future__ import annotations

from dataclasses import dataclass

from dtrfast.errors import RepositoryUnknown
from dtrfast.identity import accounts, grants, trusts
from dtrfast.identity.standing import AccountStanding, namespace_of, rights_in_namespace
from dtrfast.identity.use_case import UseCase
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import listing, management, ownership, policies, removal
from dtrfast.registry.listing import Columns, Listing, ListRequest
from dtrfast.registry.management import RepositoryView
from dtrfast.registry.permits import Action
from dtrfast.registry.removal import DeletedRepository

# Greater than all ids of repositories.
_ID_MAX = 1 << 62


@dataclass(frozen=True, slots=True)
class TrashedRepository:
    """A repository in the trash. `trash_until` is in seconds since the epoch. `changes_owner`: it
    would belong to another account if it was restored under its name.
    """

    record: DeletedRepository
    trash_until: int
    changes_owner: bool


_COLUMNS: Columns[DeletedRepository] = {
    "name": lambda one: one.name,
    "deleted": lambda one: one.deleted_at,
}


class RepositoryTrash(UseCase):
    """The deleted repositories of the accounts that the caller administers; system administrators
    have all. Methods raise `SignInRequired`, and `AccessRefused` for bounded credentials.
    """

    def page(self, request: ListRequest) -> Listing[TrashedRepository]:
        """Return a page of deleted repositories."""
        with self._engine.read() as transaction:
            heirs = _Heirs(transaction, self._permits.standing(transaction))
            seconds = policies.trash_seconds(transaction)
            found = (one for one in removal.trashed(transaction) if heirs.may_restore(one))
            page = listing.whole(found, request, _COLUMNS)
            return page.map(
                lambda one: TrashedRepository(
                    one, one.deleted_at + seconds, heirs.changes_owner(one)
                )
            )

    def restore(self, number: int, wanted: RepositoryName | None = None) -> RepositoryView:
        """Bring a repository back with its README, under its name or a `wanted` one.

        Under another owner it has no grants and no trusts: those were the former owner's to give.
        Raises `RepositoryUnknown` for a repository that is not in the trash, and for callers who
        may not restore it, or not under this name; `Conflict` if the name is taken.
        """
        author = self._author()
        number = min(number, _ID_MAX)

        def change(transaction: WriteTransaction) -> RepositoryView:
            heirs = _Heirs(transaction, self._permits.standing(transaction))
            one = removal.find_trashed(transaction, number)
            name = RepositoryName(one.name) if wanted is None else wanted
            if not heirs.may_name(name) or not heirs.may_restore(one):
                raise RepositoryUnknown("there is no such repository in the trash")
            removal.restore(transaction, number, name, author)
            if heirs.owner_of(name) != heirs.former_owner(one):
                grants.remove_place(transaction, author, grants.repository_place(number))
                trusts.remove_all(transaction, author, name)
            return management.view_of(transaction, self._permits, name)

        return self._engine.write(change)


class _Heirs:
    """The accounts that repositories of the trash belong to, in one snapshot. Rights on an account
    are looked up once.
    """

    def __init__(self, transaction: ReadTransaction, standing: AccountStanding) -> None:
        self._transaction = transaction
        self._standing = standing
        self._administered: dict[int, bool] = {}

    def may_restore(self, one: DeletedRepository) -> bool:
        """Return True for administrators of the account that the repository was deleted from."""
        return self._standing.is_admin or self._administers(self.former_owner(one))

    def may_name(self, name: RepositoryName) -> bool:
        """Return True for administrators of the account that has this name now."""
        return self._standing.is_admin or self._administers(self.owner_of(name))

    def changes_owner(self, one: DeletedRepository) -> bool:
        """Return True if the repository, restored under its name, would be another account's."""
        return self.owner_of(RepositoryName(one.name)) != self.former_owner(one)

    def owner_of(self, name: RepositoryName) -> int:
        """Return the id of the account that a repository of this name would belong to."""
        return ownership.owner_of(self._transaction, name)

    def former_owner(self, one: DeletedRepository) -> int:
        """Return the id of the account that a deleted repository belongs to; `ownership.REGISTRY`
        for those that only system administrators may restore.
        """
        if one.owner != ownership.UNKNOWN:
            return one.owner
        # An older version kept the name alone: an account that was made later is another one.
        account = namespace_of(self._transaction, RepositoryName(one.name))
        was_there = account is not None and account.created_at < one.deleted_at
        return account.id if account is not None and was_there else ownership.REGISTRY

    def _administers(self, account_id: int) -> bool:
        if account_id not in self._administered:
            account = accounts.find_id(self._transaction, account_id)
            self._administered[account_id] = account is not None and (
                Action.ADMIN in rights_in_namespace(self._transaction, self._standing, account)
            )
        return self._administered[account_id]

"""Deleted repositories: the account that one belongs to still, and its way back to an account.

The trash keeps the id of the account that a repository was deleted from. Another account that has
the name by now, or the same name again, has no right to it; system administrators have.
"""

from __future__ import annotations

from dtrfast.errors import RepositoryUnknown
from dtrfast.identity import access, accounts, grants, trusts
from dtrfast.identity.access import Standing
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import ownership, removal
from dtrfast.registry.permits import Action
from dtrfast.registry.removal import DeletedRepository
from dtrfast.registry.writing import Author


def owner(transaction: ReadTransaction, one: DeletedRepository) -> int:
    """Return the id of the account that a deleted repository belongs to; `ownership.REGISTRY` for
    those that only system administrators may restore.
    """
    if one.owner != ownership.UNKNOWN:
        return one.owner
    # An older version kept the name alone: an account that was made later is another one.
    account = access.namespace_of(transaction, RepositoryName(one.name))
    was_there = account is not None and account.created_at < one.deleted_at
    return account.id if account is not None and was_there else ownership.REGISTRY


def may_restore(transaction: ReadTransaction, standing: Standing, one: DeletedRepository) -> bool:
    """Return True for administrators of the account that the repository was deleted from."""
    return standing.is_admin or _administers(transaction, standing, owner(transaction, one))


def changes_owner(transaction: ReadTransaction, one: DeletedRepository) -> bool:
    """Return True if the repository, restored under its name, would be another account's."""
    return ownership.owner_of(transaction, RepositoryName(one.name)) != owner(transaction, one)


def restore(
    transaction: WriteTransaction,
    standing: Standing,
    author: Author,
    number: int,
    wanted: RepositoryName | None,
) -> RepositoryName:
    """Bring a repository back, under its name or another one; returns the name.

    Under another owner it has no grants and no trusts: those were the former owner's to give.
    Raises `RepositoryUnknown`, also for callers who may not restore it, or not there, and
    `Conflict` if the name is taken.
    """
    one = removal.find_trashed(transaction, number)
    name = RepositoryName(one.name) if wanted is None else wanted
    heir = ownership.owner_of(transaction, name)
    may_name = standing.is_admin or _administers(transaction, standing, heir)
    if not may_name or not may_restore(transaction, standing, one):
        raise RepositoryUnknown("there is no such repository in the trash")
    former = owner(transaction, one)
    removal.restore(transaction, number, name, author)
    if heir != former:
        grants.remove_place(transaction, author, grants.repository_place(number))
        trusts.remove_all(transaction, author, name)
    return name


def _administers(transaction: ReadTransaction, standing: Standing, account_id: int) -> bool:
    account = accounts.find_id(transaction, account_id)
    if account is None:
        return False
    return Action.ADMIN in access.rights_in_namespace(transaction, standing, account)

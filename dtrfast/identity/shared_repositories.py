"""The repositories that other accounts share with a user."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dtrfast.identity import accounts, grants, teams
from dtrfast.identity.records import Account
from dtrfast.identity.standing import Subjects, rights_each, standing_of
from dtrfast.identity.use_case import UseCase
from dtrfast.index.engine import ReadTransaction
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import management, repositories
from dtrfast.registry.listing import Listing, ListRequest
from dtrfast.registry.management import RepositoryView
from dtrfast.registry.pages import BoundedScan


class SharedRepositories(UseCase):
    """Repositories outside of a user's namespaces, with a grant to the user or to its team."""

    def page(self, user_name: str, request: ListRequest) -> Listing[RepositoryView]:
        """Return a page of the repositories that are shared with a user and visible to the caller.

        `allowed` are the actions of the user, not of the caller. Raises `AccountUnknown`, and
        `AccessRefused` unless the caller is the user or a system administrator.
        """
        with self._engine.read() as transaction:
            user = accounts.get(transaction, user_name, "user")
            self._permits.require_self(transaction, user)
            found = BoundedScan(_names_shared(transaction, user))
            standing = standing_of(transaction, user)
            owners = (accounts.find_id(transaction, number) for number in standing.owned)
            owned = {account.name for account in owners if account is not None}
            names = sorted({n for n in found if RepositoryName(n).owner not in owned})
            wanted = (name for name in names if name > request.first)
            page = management.page_of(transaction, self._permits, wanted, request)
            subjects = Subjects.read(transaction, [one.name for one in page.entries])
            rights = rights_each(transaction, standing, subjects)
            entries = [
                replace(one, allowed=actions)
                for one, actions in zip(page.entries, rights, strict=True)
            ]
            is_exact = page.is_exact and not found.is_cut
            return Listing(entries, page.next_start, is_exact)


def _names_shared(transaction: ReadTransaction, user: Account) -> Iterator[str]:
    """Yield the repositories of all grants to a user and its teams. It reads each place once."""
    grantees = [user.id, *(m.team_id for m in teams.memberships(transaction, user.id))]
    granted = (place for one in grantees for place, _ in grants.of_grantee(transaction, one))
    for place in BoundedScan(dict.fromkeys(BoundedScan(granted))):
        if grants.is_namespace(place):
            account = accounts.find_id(transaction, place.id)
            if account is not None:
                yield from repositories.names_of(transaction, account.name)
        else:
            name = repositories.name_of(transaction, place.id)
            if name is not None:
                yield name.text

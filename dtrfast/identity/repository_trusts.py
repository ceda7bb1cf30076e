"""The trusts of a repository, as its administrators manage them."""

from __future__ import annotations

from dataclasses import dataclass

from dtrfast.identity import oidc, trusts
from dtrfast.identity.oidc import Trust
from dtrfast.identity.use_case import UseCase
from dtrfast.index.engine import WriteTransaction
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import listing, repositories
from dtrfast.registry.listing import Listing, ListRequest
from dtrfast.registry.permits import Action


@dataclass(frozen=True, slots=True)
class TrustView:
    """A trust. `is_in_force`: the issuer for which it was created still has its name."""

    trust: Trust
    is_in_force: bool = True


class RepositoryTrusts(UseCase):
    """The jobs that may use a repository without a secret, for one caller. All methods raise what
    `Permits.check` does.
    """

    def page(self, name: RepositoryName, request: ListRequest) -> Listing[TrustView]:
        """Return a page of a repository's trusts."""
        with self._engine.read() as transaction:
            number = repositories.require(transaction, self._permits, name, Action.ADMIN)
            found = trusts.of_repository(transaction, number)
            page = listing.whole(found, request, {"name": lambda trust: trust.name})
            issuers = trusts.known_issuers(transaction)
            return page.map(lambda one: TrustView(one, trusts.is_in_force(one, issuers)))

    def put(self, name: RepositoryName, trust: Trust) -> None:
        """Add a trust, in place of one with the same name. Raises `SettingsInvalid`."""
        oidc.check_trust(trust)
        author = self._author()

        def change(transaction: WriteTransaction) -> None:
            repositories.require(transaction, self._permits, name, Action.ADMIN)
            trusts.put(transaction, author, name, trust)

        self._engine.write(change)

    def remove(self, name: RepositoryName, trust_name: str) -> None:
        """Remove a trust. Raises `CredentialUnknown`."""
        author = self._author()

        def change(transaction: WriteTransaction) -> None:
            repositories.require(transaction, self._permits, name, Action.ADMIN)
            trusts.remove(transaction, author, name, trust_name)

        self._engine.write(change)

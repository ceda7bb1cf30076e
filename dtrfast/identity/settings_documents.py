"""The documents of settings that administrators change while the server runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from dtrfast.identity import settings, trusts
from dtrfast.identity.settings import OidcSettings
from dtrfast.identity.use_case import UseCase
from dtrfast.index.engine import WriteTransaction

Document = TypeVar("Document", bound=msgspec.Struct)


class SettingsDocuments(UseCase):
    """The documents of settings, for one caller. All methods raise `AccessRefused` for callers that
    are not system administrators.
    """

    def read(self, kind: type[Document]) -> Document | None:
        """Return the document of a kind; None if there is none."""
        with self._engine.read() as transaction:
            self._permits.require_admin(transaction)
            return settings.get(transaction, kind)

    def shown(self, kinds: Iterable[type[msgspec.Struct]]) -> dict[str, Any]:
        """Return the documents of some kinds by the kind's name, without secrets; None for a
        document that was never written.
        """
        with self._engine.read() as transaction:
            self._permits.require_admin(transaction)
            found = {kind.__name__: settings.get(transaction, kind) for kind in kinds}
        return {
            name: None if document is None else settings.without_secrets(document)
            for name, document in found.items()
        }

    def write(self, document: Document) -> Document | None:
        """Replace the whole document of its kind. Return the former one.

        The caller must have checked the values.
        """
        author = self._author()

        def change(transaction: WriteTransaction) -> Document | None:
            self._permits.require_admin(transaction)
            before = settings.get(transaction, type(document))
            if isinstance(document, OidcSettings):
                trusts.pin(transaction, author)
            settings.put(transaction, author, document)
            return before

        return self._engine.write(change)

    def remove(self, kind: type[Document]) -> None:
        """Remove the document of a kind: the defaults are in force again."""
        author = self._author()

        def change(transaction: WriteTransaction) -> None:
            self._permits.require_admin(transaction)
            settings.remove(transaction, author, kind)

        self._engine.write(change)

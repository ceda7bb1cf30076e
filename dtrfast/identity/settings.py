"""Settings that administrators change while the server runs: documents of JSON in the index.

Settings that a process needs before it can open the index are in its configuration file instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from dtrfast.errors import Corrupt, SettingsInvalid
from dtrfast.identity.change_record import record_change
from dtrfast.identity.ldap.settings import LdapSettings, is_same_target
from dtrfast.identity.oidc import Issuer
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import SETTINGS
from dtrfast.registry import policies
from dtrfast.registry.policies import StorageSettings
from dtrfast.registry.writing import Author

Document = TypeVar("Document", bound=msgspec.Struct)


class AccessSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The settings of all repositories."""

    # True: a push creates a missing repository, if the caller may create it.
    create_on_push: bool = True
    # True: an administrator's push creates a repository in a namespace that no account and no other
    # repository has. False: such a push is refused, since the name may be mistyped.
    create_namespace_on_push: bool = False
    # True: a repository that a push creates is public.
    public_on_push: bool = False
    # The life of a personal token or a robot, in days, if the request names none; 0: for ever.
    token_days_default: Annotated[int, Meta(ge=0, le=36_500)] = 365


class OidcSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The issuers whose jobs may exchange their tokens for access tokens."""

    issuers: tuple[Issuer, ...] = ()

    def find(self, name: str) -> Issuer | None:
        """Return the issuer with this name; None if there is none."""
        return next((issuer for issuer in self.issuers if issuer.name == name), None)


# This word replaces a stored secret in shown settings. In settings that a client sends, it stands
# for the stored secret.
HIDDEN = "(hidden)"


@dataclass(frozen=True, slots=True)
class Secret:
    """A field that is never shown.

    `is_same_target` gets the stored and the new document. It returns True if the new document sends
    the secret only to places to which the stored one does. Else the user must enter the secret
    again. `bound_to` names the fields that it compares, for an error.
    """

    field: str
    bound_to: str
    is_same_target: Callable[[Any, Any], bool]


# Every secret in a document of settings. A field that is missing here is shown to administrators.
_SECRETS: dict[type, tuple[Secret, ...]] = {
    LdapSettings: (
        Secret("search_password", "serverUrls, startTls, caPem and searchDn", is_same_target),
    ),
}

_NAMES: dict[type, bytes] = {
    AccessSettings: b"access",
    OidcSettings: b"oidc",
    LdapSettings: b"ldap",
    StorageSettings: policies.NAME,
}


def read(transaction: ReadTransaction) -> AccessSettings:
    """Return the settings of access, or their defaults."""
    return get(transaction, AccessSettings) or AccessSettings()


def get(transaction: ReadTransaction, kind: type[Document]) -> Document | None:
    """Return the settings of one kind; None if they were never set. Raises `Corrupt`."""
    data = transaction.get(SETTINGS, _NAMES[kind])
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError) as error:
        name = _NAMES[kind].decode()
        raise Corrupt(f"the settings {name!r} cannot be read ({error})") from error


def put(transaction: WriteTransaction, author: Author, document: msgspec.Struct) -> None:
    """Replace the settings of one kind. The change log does not get their secrets."""
    name = _NAMES[type(document)]
    transaction.put(SETTINGS, name, msgspec.json.encode(document))
    shown = msgspec.json.encode(without_secrets(document))
    record_change(transaction, author, "settings.put", {"name": name.decode(), "document": shown})


def remove(transaction: WriteTransaction, author: Author, kind: type[msgspec.Struct]) -> bool:
    """Remove the settings of one kind, which restores the defaults. Return False if there were
    none.
    """
    name = _NAMES[kind]
    record_change(transaction, author, "settings.put", {"name": name.decode(), "document": None})
    return transaction.pop(SETTINGS, name) is not None


def without_secrets(document: msgspec.Struct) -> dict[str, object]:
    """Return a document as a dictionary, with `HIDDEN` in place of each secret that is set."""
    fields: dict[str, object] = msgspec.to_builtins(hidden(document))
    return fields


def hidden(document: Document) -> Document:
    """Return a document with `HIDDEN` in place of each secret that is set."""
    set_ones = [one.field for one in _secrets_of(document) if getattr(document, one.field)]
    return msgspec.structs.replace(document, **dict.fromkeys(set_ones, HIDDEN))


def revealed(given: Document, stored: Document | None) -> Document:
    """Return a document with the stored secrets in place of `HIDDEN`.

    A stored secret is used only for the target for which it was entered. Otherwise an administrator
    could learn it by naming another server. Raises `SettingsInvalid`.
    """
    found = {}
    for secret in _secrets_of(given):
        if getattr(given, secret.field) != HIDDEN:
            continue
        name = given.__struct_encode_fields__[given.__struct_fields__.index(secret.field)]
        if stored is None or not getattr(stored, secret.field):
            raise SettingsInvalid(f"{name}: none is stored: enter it")
        if not secret.is_same_target(stored, given):
            raise SettingsInvalid(
                f"{name}: enter it again: the stored one is only for the stored {secret.bound_to}"
            )
        found[secret.field] = getattr(stored, secret.field)
    return msgspec.structs.replace(given, **found)


def _secrets_of(document: msgspec.Struct) -> tuple[Secret, ...]:
    """Return the secrets of a document's class or of its base."""
    return next((_SECRETS[kind] for kind in type(document).__mro__ if kind in _SECRETS), ())


def convert(document: object, kind: type[Document]) -> Document:
    """Return a document that a client sent as its type. Raises `SettingsInvalid`, which names the
    wrong field.
    """
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise SettingsInvalid(str(error)) from error

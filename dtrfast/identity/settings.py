"""Settings that are changed while the server runs: kept in the index, as JSON by name.

What a process needs before it can open the index is in its configuration file instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from dtrfast.errors import Corrupt, SettingsInvalid
from dtrfast.identity.changing import changed
from dtrfast.identity.ldap import settings as ldap
from dtrfast.identity.ldap.settings import LdapSettings
from dtrfast.identity.oidc import Issuer
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import SETTINGS
from dtrfast.registry import policies
from dtrfast.registry.policies import StorageSettings
from dtrfast.registry.writing import Author

Document = TypeVar("Document", bound=msgspec.Struct)


class AccessSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What holds for all repositories."""

    # Whether a push to a repository that is not there makes it, for who may make it.
    create_on_push: bool = True
    # Whether an administrator's push makes a repository in a namespace that no account and no other
    # repository has; else a mistyped name is refused.
    create_namespace_on_push: bool = False
    # Whether a repository that a push made may be pulled by everybody.
    public_on_push: bool = False
    # How long a personal token or a robot lives if nobody says; 0: for ever.
    token_days_default: Annotated[int, Meta(ge=0, le=36_500)] = 365


class OidcSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Whose tokens jobs may exchange."""

    issuers: tuple[Issuer, ...] = ()

    def find(self, name: str) -> Issuer | None:
        return next((issuer for issuer in self.issuers if issuer.name == name), None)


# The word that stands for a stored secret wherever settings are shown, and in settings that come
# back for the one that is stored.
HIDDEN = "(hidden)"


@dataclass(frozen=True, slots=True)
class Secret:
    """A field that is never shown. A stored value goes only where `is_same_target` of the old and
    the new document says that it went before; `bound_to` names those fields to the user.
    """

    field: str
    bound_to: str
    is_same_target: Callable[[Any, Any], bool]


# Every secret in a document of settings. A field that is missing here is shown to administrators.
_SECRETS: dict[type, tuple[Secret, ...]] = {
    LdapSettings: (
        Secret("search_password", "serverUrls, startTls, caPem and searchDn", ldap.is_same_target),
    ),
}

_NAMES: dict[type, bytes] = {
    AccessSettings: b"access",
    OidcSettings: b"oidc",
    LdapSettings: b"ldap",
    StorageSettings: policies.NAME,
}


def read(transaction: ReadTransaction) -> AccessSettings:
    """The settings of access, or their defaults."""
    return get(transaction, AccessSettings) or AccessSettings()


def get(transaction: ReadTransaction, kind: type[Document]) -> Document | None:
    """The settings of one kind; None where nobody made any."""
    data = transaction.get(SETTINGS, _NAMES[kind])
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError) as error:
        name = _NAMES[kind].decode()
        raise Corrupt(f"the settings {name!r} cannot be read ({error})") from error


def put(transaction: WriteTransaction, author: Author, document: msgspec.Struct) -> None:
    """Change the settings of one kind. Their secrets stay out of the change log."""
    name = _NAMES[type(document)]
    transaction.put(SETTINGS, name, msgspec.json.encode(document))
    shown = msgspec.json.encode(without_secrets(document))
    changed(transaction, author, "settings.put", {"name": name.decode(), "document": shown})


def remove(transaction: WriteTransaction, author: Author, kind: type[msgspec.Struct]) -> bool:
    """Go back to the defaults; False where nothing was changed."""
    name = _NAMES[kind]
    changed(transaction, author, "settings.put", {"name": name.decode(), "document": None})
    return transaction.pop(SETTINGS, name) is not None


def without_secrets(document: msgspec.Struct) -> dict[str, object]:
    """The document as it may be shown: a secret that is set is a word that says so."""
    fields: dict[str, object] = msgspec.to_builtins(hidden(document))
    return fields


def hidden(document: Document) -> Document:
    """The document with `HIDDEN` in place of each secret that is set."""
    set_ones = [one.field for one in _secrets_of(document) if getattr(document, one.field)]
    return msgspec.structs.replace(document, **dict.fromkeys(set_ones, HIDDEN))


def revealed(given: Document, stored: Document | None) -> Document:
    """The document with the stored secrets in place of `HIDDEN`.

    A secret goes only where it went when its value was entered: an administrator must not learn a
    stored one by naming another server. Raises `SettingsInvalid`.
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
    return next((_SECRETS[kind] for kind in type(document).__mro__ if kind in _SECRETS), ())


def convert(document: object, kind: type[Document]) -> Document:
    """What somebody sent, checked. Raises `SettingsInvalid`, which names the place."""
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise SettingsInvalid(str(error)) from error

"""The values of the identity tables. `docs/format.md` describes them. New fields are appended."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

import msgspec

from dtrfast.errors import Corrupt

AccountKind = Literal["user", "organization"]
TeamType = Literal["managed", "ldap"]
TokenKind = Literal["personal", "robot"]

_VERSION = 1


class Account(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A user or an organization. A new `generation` ends all sign-ins of the account.

    Times are in seconds since the epoch, here and in the other records.
    """

    version: int
    id: int
    name: str
    kind: AccountKind
    created_at: int
    is_active: bool = True
    is_admin: bool = False
    full_name: str = ""
    directory_id: str = ""  # the stable id in the LDAP directory; empty for a local account
    generation: int = 1

    @property
    def is_user(self) -> bool:
        """True for a user, False for an organization."""
        return self.kind == "user"

    @property
    def is_local(self) -> bool:
        """True if the account is not from the LDAP directory."""
        return not self.directory_id


class Password(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The hash of a local account's password, or of one that the directory accepted at `at`."""

    version: int
    hash: str
    at: int


class Team(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A team of an organization. A team of type `ldap` has the members of its LDAP group."""

    version: int
    id: int
    name: str
    created_at: int
    description: str = ""
    type: TeamType = "managed"
    group_dn: str = ""
    member_attribute: str = "member"


class Bound(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A limit of a credential: some repositories, and the actions that it may do there.

    `repository` is a name, a prefix that ends in `/*`, or `*`. `actions` are bits of `Action`.
    """

    repository: str
    actions: int


class Token(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A personal token (`account_id` is its user) or a robot (`account_id` is its organization).

    A personal token without bounds may do what its user may; a robot always has bounds.
    """

    version: int
    id: int
    kind: TokenKind
    account_id: int
    name: str
    created_at: int
    created_by: str
    expires_at: int  # 0: never
    bounds: tuple[Bound, ...] = ()
    hash: bytes = b""


class TokenUse(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The last use of a token, exact to a minute."""

    at: int
    remote: str


class SessionRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The session of a browser, opened by a sign-in."""

    version: int
    account_id: int
    generation: int
    created_at: int
    expires_at: int
    csrf_token: str
    remote: str = ""


class SigningKey(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A private key that signs tokens, as a JWK in JSON: P-256, or symmetric for refresh tokens."""

    version: int
    created_at: int
    jwk: str


Record = TypeVar("Record", bound=msgspec.Struct)


class _Codec(Generic[Record]):
    """Encodes and decodes one kind of record."""

    def __init__(self, kind: type[Record]) -> None:
        self._name = kind.__name__.lower()
        self._decoder = msgspec.msgpack.Decoder(kind)
        self.encode = msgspec.msgpack.Encoder().encode

    def decode(self, data: bytes) -> Record:
        """Return the record in `data`. Raises `Corrupt`, also for a newer version."""
        try:
            record = self._decoder.decode(data)
        except ValueError as error:
            raise Corrupt(f"a record of the kind {self._name} cannot be read ({error})") from error
        if getattr(record, "version", _VERSION) != _VERSION:
            raise Corrupt(f"a record of the kind {self._name} is newer: run a newer dtrfast")
        return record


accounts = _Codec(Account)
passwords = _Codec(Password)
teams = _Codec(Team)
tokens = _Codec(Token)
token_uses = _Codec(TokenUse)
sessions = _Codec(SessionRecord)
signing_keys = _Codec(SigningKey)

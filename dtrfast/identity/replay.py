"""The replay of the change log: it restores accounts, teams, grants, tokens, trusts and settings.

Passwords, sessions, signing keys and the secrets of settings are not in the log. After a repair, an
administrator must set passwords again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

import msgspec

from dtrfast.errors import Corrupt
from dtrfast.identity import grants, records, teams
from dtrfast.identity.grants import GrantPlace, Level
from dtrfast.identity.records import Token
from dtrfast.identity.settings import HIDDEN
from dtrfast.index import counters
from dtrfast.index.changes import ChangeRecord
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import (
    ACCOUNT_NAMES,
    ACCOUNT_TOKENS,
    ACCOUNTS,
    DIRECTORY_IDS,
    META,
    SETTINGS,
    TEAM_NAMES,
    TEAMS,
    TOKENS,
    TRUSTS,
    number_key,
)
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import repositories
from dtrfast.registry.writing import Author


class Replay:
    """Applies changes in the order of the log.

    Call `read` with changes before `apply`. The log revokes tokens by their ids, and `read`
    remembers the rows of each id.
    """

    def __init__(self) -> None:
        self._tokens: dict[int, tuple[bytes, bytes]] = {}  # id → keys of its two rows
        self._handlers: dict[str, Callable[[WriteTransaction, ChangeRecord], None]] = {
            "account.put": self._put_account,
            "account.delete": self._delete_account,
            "team.put": self._put_team,
            "team.delete": self._delete_team,
            "member.add": partial(self._change_member, act=teams.add_member),
            "member.remove": partial(self._change_member, act=teams.remove_member),
            "grant.set": self._set_grant,
            "grant.remove": self._remove_grant,
            "token.put": self._put_token,
            "token.delete": self._delete_token,
            "trust.put": self._put_trust,
            "trust.delete": self._delete_trust,
            "settings.put": self._put_settings,
        }

    def read(self, changes: Iterable[ChangeRecord]) -> None:
        """Remember the tokens of the changes that `apply` gets next."""
        for change in changes:
            if change.kind == "token.put":
                with suppress(Corrupt):  # `apply` raises it again
                    token = records.tokens.decode(change.payload["record"])
                    self._tokens[token.id] = _token_keys(token)

    def apply(self, transaction: WriteTransaction, change: ChangeRecord) -> bool:
        """Apply a change of accounts, access or settings. Return False if it is of another kind.

        Raises `DtrfastError` if the change cannot be applied.
        """
        handler = self._handlers.get(change.kind)
        if handler is None:
            return False
        handler(transaction, change)
        return True

    def _put_account(self, transaction: WriteTransaction, change: ChangeRecord) -> None:
        account = records.accounts.decode(change.payload["record"])
        key = number_key(account.id)
        old = transaction.get(ACCOUNTS, key)
        if old is not None:
            before = records.accounts.decode(old)
            teams.rename_member(transaction, before, account.name)
            transaction.delete(ACCOUNT_NAMES, before.name.encode())
            if before.directory_id:
                transaction.delete(DIRECTORY_IDS, before.directory_id.encode())
        transaction.put(ACCOUNTS, key, change.payload["record"])
        transaction.put(ACCOUNT_NAMES, account.name.encode(), key)
        if account.directory_id:
            transaction.put(DIRECTORY_IDS, account.directory_id.encode(), key)
        _count(transaction, account.id)

    def _delete_account(self, transaction: WriteTransaction, change: ChangeRecord) -> None:
        key = number_key(change.payload["id"])
        data = transaction.get(ACCOUNTS, key)
        transaction.delete(ACCOUNTS, key)
        transaction.delete(ACCOUNT_NAMES, change.payload["name"].encode())
        if data is not None:
            directory_id = records.accounts.decode(data).directory_id
            if directory_id:
                transaction.delete(DIRECTORY_IDS, directory_id.encode())

    def _put_team(self, transaction: WriteTransaction, change: ChangeRecord) -> None:
        team = records.teams.decode(change.payload["record"])
        key = number_key(change.payload["organization"]) + team.name.encode()
        old = transaction.get(TEAM_NAMES, number_key(team.id))
        if old is not None and old != key:
            transaction.delete(TEAMS, old)
        transaction.put(TEAMS, key, change.payload["record"])
        transaction.put(TEAM_NAMES, number_key(team.id), key)
        _count(transaction, team.id)

    def _delete_team(self, transaction: WriteTransaction, change: ChangeRecord) -> None:
        found = teams.find_id(transaction, change.payload["id"])
        account = None if found is None else transaction.get(ACCOUNTS, number_key(found[0]))
        if found is not None and account is not None:
            organization = records.accounts.decode(account)
            teams.remove(transaction, _author(change), organization, found[1])

    def _change_member(
        self, transaction: WriteTransaction, change: ChangeRecord, act: Callable[..., bool]
    ) -> None:
        found = teams.find_id(transaction, change.payload["team"])
        user = transaction.get(ACCOUNTS, number_key(change.payload["user"]))
        if found is None or user is None:
            return
        organization = transaction.get(ACCOUNTS, number_key(found[0]))
        if organization is not None:
            decode = records.accounts.decode
            author = _author(change)
            act(transaction, author, decode(organization), found[1], decode(user))

    def _set_grant(self, transaction: WriteTransaction, change: ChangeRecord) -> None:
        level = Level(change.payload["level"])
        grants.put(transaction, _author(change), *_place_and_grantee(change), level)

    def _remove_grant(self, transaction: WriteTransaction, change: ChangeRecord) -> None:
        grants.remove(transaction, _author(change), *_place_and_grantee(change))

    def _put_token(self, transaction: WriteTransaction, change: ChangeRecord) -> None:
        token = records.tokens.decode(change.payload["record"])
        digest, key = _token_keys(token)
        transaction.put(TOKENS, digest, change.payload["record"])
        transaction.put(ACCOUNT_TOKENS, key, digest)
        _count(transaction, token.id)

    def _delete_token(self, transaction: WriteTransaction, change: ChangeRecord) -> None:
        digest, key = self._tokens.get(change.payload["id"], (b"", b""))
        if digest:
            transaction.delete(TOKENS, digest)
            transaction.delete(ACCOUNT_TOKENS, key)

    def _put_trust(self, transaction: WriteTransaction, change: ChangeRecord) -> None:
        data: bytes = change.payload["trust"]
        fields = msgspec.json.decode(data)
        self._write_trust(transaction, change, str(fields["name"]), data)
        _count(transaction, fields.get("id", 0))

    def _delete_trust(self, transaction: WriteTransaction, change: ChangeRecord) -> None:
        self._write_trust(transaction, change, change.payload["name"], None)

    def _write_trust(
        self, transaction: WriteTransaction, change: ChangeRecord, name: str, data: bytes | None
    ) -> None:
        """Write the row of a trust, or delete it with None, if its repository exists."""
        repository = repositories.find(transaction, RepositoryName(change.repository))
        if repository is None:
            return
        key = number_key(repository) + name.encode("utf-8", "surrogatepass")[:255]
        if data is None:
            transaction.delete(TRUSTS, key)
        else:
            transaction.put(TRUSTS, key, data)

    def _put_settings(self, transaction: WriteTransaction, change: ChangeRecord) -> None:
        name, document = change.payload["name"].encode(), change.payload["document"]
        if document is None:
            transaction.delete(SETTINGS, name)
        else:
            hidden = f'"{HIDDEN}"'.encode()
            transaction.put(SETTINGS, name, document.replace(hidden, b'""'))


def _author(change: ChangeRecord) -> Author:
    return Author(change.actor, change.time)


def _token_keys(token: Token) -> tuple[bytes, bytes]:
    """Return the keys of a token's two rows."""
    return token.hash, number_key(token.account_id) + number_key(token.id)


def _place_and_grantee(change: ChangeRecord) -> tuple[GrantPlace, int]:
    """Return the place of a grant, and the grantee's id."""
    place: bytes = change.payload["place"]
    return GrantPlace.of_key(place), change.payload["grantee"]


def _count(transaction: WriteTransaction, number: int) -> None:
    """Advance the counter of ids, so that nothing new gets this id."""
    if counters.last(transaction, META, b"identity_id") < number:
        transaction.put(META, b"identity_id", number_key(number + 1))

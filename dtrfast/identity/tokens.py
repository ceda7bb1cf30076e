"""Stored tokens, personal ones and those of robots: functions over a transaction, and their format.

A token's text is a prefix for its kind, and 32 random bytes in base64. The index has only its
SHA-256. A slow hash would add nothing: a client cannot guess 256 random bits.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from dtrfast.errors import AccountInvalid, Conflict, CredentialUnknown
from dtrfast.identity import records
from dtrfast.identity.change_record import record_change
from dtrfast.identity.names import check_robot_name, check_title
from dtrfast.identity.records import Account, Bound, Token, TokenKind, TokenUse
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import ACCOUNT_TOKENS, META, TOKEN_USES, TOKENS, number_key, number_of
from dtrfast.oci.names import RepositoryName
from dtrfast.registry.permits import SCOPED, Action
from dtrfast.registry.writing import Author

_PREFIXES: dict[TokenKind, str] = {"personal": "dtrp_", "robot": "dtrr_"}
_SECRET_SIZE = 32
# Tokens of one account. More are a mistake in a script, and a page of a list reads all of them.
TOKENS_MAX = 1000
# The last use of a token is written at most this often.
USE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token to create. `expires_at` is in seconds since the epoch; 0: never.

    `text` is the token itself, which the index does not store.
    """

    kind: TokenKind
    name: str
    bounds: tuple[Bound, ...]
    expires_at: int
    text: str

    @staticmethod
    def make(
        kind: TokenKind, name: str, bounds: Iterable[Bound] = (), expires_at: int = 0
    ) -> NewToken:
        """Return a token with a new secret. Raises `AccountInvalid` for the name."""
        checked = check_robot_name(name) if kind == "robot" else check_title(name)
        text = _PREFIXES[kind] + secrets.token_urlsafe(_SECRET_SIZE)
        return NewToken(kind, checked, tuple(bounds), expires_at, text)


def is_token(text: str) -> bool:
    """Return True for the format of a stored token, False for a password."""
    return text.startswith(tuple(_PREFIXES.values()))


def hash_of(text: str) -> bytes:
    """Return the SHA-256 under which a token is stored."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def parse_bound(repository: str, actions: Iterable[str]) -> Bound:
    """Return the bound for a scope, such as `acme/*` with `pull` and `push`.

    `repository` is a name, a name and `/*`, or `*`. Raises `AccountInvalid`.
    """
    prefix = repository.removesuffix("*")
    # `acme/` names no repository, and `acme*` is not a pattern.
    is_pattern = (prefix != repository) == prefix.endswith("/")
    if is_pattern:
        try:
            RepositoryName.parse(prefix.removesuffix("/"))
        except Exception:
            is_pattern = False
    if repository != "*" and not is_pattern:
        raise AccountInvalid(
            f"{repository[:80]!r} names no repositories: give a name, a name and /*, or *"
        )
    bits = Action(0)
    for action in actions:
        if action == "admin":
            raise AccountInvalid(
                "a scope cannot give admin: to manage, create a token without scopes"
            )
        named = Action.__members__.get(action.upper()) if action.islower() else None
        found = SCOPED if action == "*" else named
        if found is None:
            raise AccountInvalid(
                f"{action[:40]!r} is no action: pull, push, delete, or * for all three"
            )
        bits |= found
    if not bits:
        raise AccountInvalid(f"say what the token may do in {repository}: pull, push, delete, *")
    return Bound(repository, int(bits))


def action_names(actions: int) -> list[str]:
    """Return the names of the actions in a set of bits."""
    return [str(action.name).lower() for action in Action if action & actions]


def robot_name(organization: str, name: str) -> str:
    """Return the user name with which a robot signs in.

    No account has a plus in its name, and a shell needs no quotes for it.
    """
    return f"{organization}+{name}"


def create(transaction: WriteTransaction, author: Author, account: Account, new: NewToken) -> Token:
    """Store a token of an account. Raises `Conflict` if the name is taken or there are too many."""
    existing = list(of_account(transaction, account.id, new.kind))
    if any(token.name == new.name for token in existing):
        raise Conflict(f"{account.name} has a {new.kind} token {new.name!r} already")
    if len(existing) >= TOKENS_MAX:
        raise Conflict(f"{account.name} has {TOKENS_MAX} tokens: delete some first")
    token = Token(
        version=1,
        id=transaction.take(META, b"identity_id"),
        kind=new.kind,
        account_id=account.id,
        name=new.name,
        created_at=author.now,
        created_by=author.actor,
        expires_at=new.expires_at,
        bounds=new.bounds,
        hash=hash_of(new.text),
    )
    data = records.tokens.encode(token)
    transaction.put(TOKENS, token.hash, data)
    transaction.put(ACCOUNT_TOKENS, number_key(account.id) + number_key(token.id), token.hash)
    record_change(transaction, author, "token.put", {"record": data})
    return token


def find(transaction: ReadTransaction, text: str) -> Token | None:
    """Return the token with this text, expired or not."""
    data = transaction.get(TOKENS, hash_of(text))
    return None if data is None else _decode(data)


def find_id(transaction: ReadTransaction, account_id: int, token_id: int) -> Token | None:
    """Return the token with this id; None if it was revoked."""
    digest = transaction.get(ACCOUNT_TOKENS, number_key(account_id) + number_key(token_id))
    data = None if digest is None else transaction.get(TOKENS, digest)
    return None if data is None else _decode(data)


def _decode(data: bytes) -> Token:
    """Return the token of a record. Drop actions of its scopes that no scope can give."""
    token = records.tokens.decode(data)
    bounds = tuple(Bound(one.repository, one.actions & SCOPED) for one in token.bounds)
    return token if bounds == token.bounds else msgspec.structs.replace(token, bounds=bounds)


def of_account(transaction: ReadTransaction, account_id: int, kind: TokenKind) -> Iterator[Token]:
    """Yield an account's tokens of one kind, the oldest first."""
    for _, digest in transaction.scan(ACCOUNT_TOKENS, number_key(account_id)):
        data = transaction.get(TOKENS, digest)
        token = None if data is None else _decode(data)
        if token is not None and token.kind == kind:
            yield token


def get(transaction: ReadTransaction, account: Account, kind: TokenKind, name: str) -> Token:
    """Return the token with this name or id. Raises `CredentialUnknown`, and `Conflict` if `name`
    is the name of one token and the id of another.
    """
    kept = of_account(transaction, account.id, kind)
    found = [token for token in kept if name in (token.name, str(token.id))]
    if not found:
        raise CredentialUnknown(f"{account.name} has no {kind} token {name[:80]!r}")
    if len(found) > 1:
        named, numbered = sorted(found, key=lambda token: token.name != name)
        raise Conflict(
            f"{name} is the name of the {kind} token with the id {named.id}, and the id of the one"
            f" named {numbered.name!r}: say {named.id} or {numbered.name!r}"
        )
    return found[0]


def remove(transaction: WriteTransaction, author: Author, token: Token) -> None:
    """Revoke a token. Access tokens that were issued for it end as well."""
    transaction.delete(TOKENS, token.hash)
    key = number_key(token.account_id) + number_key(token.id)
    transaction.delete(ACCOUNT_TOKENS, key)
    transaction.delete(TOKEN_USES, number_key(token.id))
    record_change(transaction, author, "token.delete", {"id": token.id, "name": token.name})


def remove_all(transaction: WriteTransaction, author: Author, account: Account) -> None:
    """Revoke all tokens of an account that is about to be deleted."""
    for kind in _PREFIXES:
        for token in list(of_account(transaction, account.id, kind)):
            remove(transaction, author, token)


# ---- uses ------------------------------------------------------------------------------------
def last_use(transaction: ReadTransaction, token_id: int) -> TokenUse | None:
    """Return the last use of a token; None if it was never used."""
    data = transaction.get(TOKEN_USES, number_key(token_id))
    return None if data is None else records.token_uses.decode(data)


def last_uses(transaction: ReadTransaction, token_ids: Iterable[int]) -> dict[int, TokenUse]:
    """Return the last uses by the tokens' ids, without tokens that were never used."""
    found = transaction.get_many(TOKEN_USES, [number_key(number) for number in token_ids])
    return {number_of(key): records.token_uses.decode(data) for key, data in found.items()}


def is_use_due(transaction: ReadTransaction, token_id: int, now: int) -> bool:
    """Return True if a use at `now` should be written (`note_use`)."""
    use = last_use(transaction, token_id)
    return use is None or now - use.at >= USE_SECONDS


def note_use(transaction: WriteTransaction, token: Token, now: int, remote: str) -> None:
    """Write the last use of a token, if the token still exists. Verdicts stay valid."""
    if find_id(transaction, token.account_id, token.id) is not None:
        data = records.token_uses.encode(TokenUse(now, remote))
        transaction.put(TOKEN_USES, number_key(token.id), data)

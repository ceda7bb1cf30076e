"""Personal tokens and robots: functions over a transaction, and what a token looks like.

A token is a prefix that tells its kind, and 32 random bytes. Only its SHA-256 is stored, which is
enough: nobody guesses 256 bits, so there is nothing that a slow hash would slow down.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from dtrfast.errors import AccountInvalid, Conflict, CredentialUnknown
from dtrfast.identity import records
from dtrfast.identity.changing import changed
from dtrfast.identity.names import check_robot_name, check_title
from dtrfast.identity.records import Account, Bound, Token, TokenKind, TokenUse
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import ACCOUNT_TOKENS, META, TOKEN_USES, TOKENS, number_key
from dtrfast.oci.names import RepositoryName
from dtrfast.registry.permits import SCOPED, Action
from dtrfast.registry.writing import Author

_PREFIXES: dict[TokenKind, str] = {"personal": "dtrp_", "robot": "dtrr_"}
_SECRET_SIZE = 32
# More are a mistake in a script; each page of them is read whole.
TOKENS_MAX = 1000
# The last use is written down at most this often.
USE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that is to be made. `expires_at` 0: never."""

    kind: TokenKind
    name: str
    bounds: tuple[Bound, ...]
    expires_at: int
    text: str

    @staticmethod
    def make(
        kind: TokenKind, name: str, bounds: Iterable[Bound] = (), expires_at: int = 0
    ) -> NewToken:
        """With a secret. Raises `AccountInvalid`."""
        checked = check_robot_name(name) if kind == "robot" else check_title(name)
        text = _PREFIXES[kind] + secrets.token_urlsafe(_SECRET_SIZE)
        return NewToken(kind, checked, tuple(bounds), expires_at, text)


def is_token(text: str) -> bool:
    """Whether this looks like one of our tokens rather than a password."""
    return text.startswith(tuple(_PREFIXES.values()))


def hash_of(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def parse_bound(repository: str, actions: Iterable[str]) -> Bound:
    """What a token may do, where. Raises `AccountInvalid`."""
    prefix = repository.removesuffix("*")
    if repository not in ("*",) and not _is_pattern(repository, prefix):
        raise AccountInvalid(
            f"{repository[:80]!r} names no repositories: give a name, a name and /*, or *"
        )
    bits = Action(0)
    for action in actions:
        bits |= _parse_action(action)
    if not bits:
        raise AccountInvalid(f"say what the token may do in {repository}: pull, push, delete, *")
    return Bound(repository, int(bits))


def _is_pattern(repository: str, prefix: str) -> bool:
    if (prefix != repository) != prefix.endswith("/"):
        return False  # `acme/` covers nothing, as no repository has this name
    try:
        RepositoryName.parse(prefix.removesuffix("/"))
    except Exception:
        return False
    return True


def _parse_action(text: str) -> Action:
    if text == "*":
        return SCOPED
    if text == "admin":
        raise AccountInvalid("scopes give no admin: to manage, make a token without scopes")
    found = Action.__members__.get(text.upper()) if text.islower() else None
    if found is None:
        raise AccountInvalid(f"{text[:40]!r} is no action: pull, push, delete, or * for all three")
    return found


def action_names(actions: int) -> list[str]:
    """The actions in a set of bits."""
    return [str(action.name).lower() for action in Action if action & actions]


def robot_name(organization: str, name: str) -> str:
    """What a robot signs in as. No account has a plus in its name, and no shell minds it."""
    return f"{organization}+{name}"


def create(transaction: WriteTransaction, author: Author, account: Account, new: NewToken) -> Token:
    """Store a token of an account. Raises `Conflict`."""
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
    changed(transaction, author, "token.put", {"record": data})
    return token


def find(transaction: ReadTransaction, text: str) -> Token | None:
    """The token that somebody shows, expired or not."""
    data = transaction.get(TOKENS, hash_of(text))
    return None if data is None else _decode(data)


def find_id(transaction: ReadTransaction, account_id: int, token_id: int) -> Token | None:
    """The token with this id; None when it was revoked."""
    digest = transaction.get(ACCOUNT_TOKENS, number_key(account_id) + number_key(token_id))
    data = None if digest is None else transaction.get(TOKENS, digest)
    return None if data is None else _decode(data)


def _decode(data: bytes) -> Token:
    """The token of a record. Scopes that were stored with more than scopes can give lose it."""
    token = records.tokens.decode(data)
    bounds = tuple(Bound(one.repository, one.actions & SCOPED) for one in token.bounds)
    return token if bounds == token.bounds else msgspec.structs.replace(token, bounds=bounds)


def of_account(transaction: ReadTransaction, account_id: int, kind: TokenKind) -> Iterator[Token]:
    """An account's tokens, oldest first."""
    for _, digest in transaction.scan(ACCOUNT_TOKENS, number_key(account_id)):
        data = transaction.get(TOKENS, digest)
        token = None if data is None else _decode(data)
        if token is not None and token.kind == kind:
            yield token


def get(transaction: ReadTransaction, account: Account, kind: TokenKind, name: str) -> Token:
    """The token of this name, or with this id. Raises `CredentialUnknown`, and `Conflict` where
    the name of one is the id of another.
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
    """Revoke a token: it and what was made with it count no more."""
    transaction.delete(TOKENS, token.hash)
    key = number_key(token.account_id) + number_key(token.id)
    transaction.delete(ACCOUNT_TOKENS, key)
    transaction.delete(TOKEN_USES, number_key(token.id))
    changed(transaction, author, "token.delete", {"id": token.id, "name": token.name})


def remove_all(transaction: WriteTransaction, author: Author, account: Account) -> None:
    """Revoke all tokens of an account that is about to go."""
    for kind in _PREFIXES:
        for token in list(of_account(transaction, account.id, kind)):
            remove(transaction, author, token)


# ---- uses ------------------------------------------------------------------------------------
def last_use(transaction: ReadTransaction, token_id: int) -> TokenUse | None:
    data = transaction.get(TOKEN_USES, number_key(token_id))
    return None if data is None else records.token_uses.decode(data)


def is_use_due(transaction: ReadTransaction, token_id: int, now: int) -> bool:
    """Whether this use is worth writing down."""
    use = last_use(transaction, token_id)
    return use is None or now - use.at >= USE_SECONDS


def note_use(transaction: WriteTransaction, token: Token, now: int, remote: str) -> None:
    """Write down that the token was used, if it is still there. Ends no verdict."""
    if find_id(transaction, token.account_id, token.id) is not None:
        data = records.token_uses.encode(TokenUse(now, remote))
        transaction.put(TOKEN_USES, number_key(token.id), data)

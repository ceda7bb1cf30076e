"""Users and organizations, which share one namespace: functions over a transaction.

The callers of these functions check permissions. The functions themselves keep one rule: an active
local system administrator always exists, so that one can sign in while a directory is down.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from dtrfast.errors import AccountInvalid, AccountUnknown, Conflict
from dtrfast.identity import known_addresses, records
from dtrfast.identity.change_record import record_change
from dtrfast.identity.names import AccountName
from dtrfast.identity.records import Account, AccountKind, Password
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import (
    ACCOUNT_NAMES,
    ACCOUNTS,
    DIRECTORY_IDS,
    META,
    PASSWORDS,
    REPOSITORIES,
    number_key,
    number_of,
)
from dtrfast.registry.writing import Author


def find(transaction: ReadTransaction, name: str) -> Account | None:
    """Return the account with this name; None if there is none. Any text is allowed."""
    if not name or len(name) > 255 or not name.isascii():
        return None
    number = transaction.get(ACCOUNT_NAMES, name.encode())
    return None if number is None else find_id(transaction, number_of(number))


def find_id(transaction: ReadTransaction, account_id: int) -> Account | None:
    """Return the account with this id; None if there is none."""
    data = transaction.get(ACCOUNTS, number_key(account_id))
    return None if data is None else records.accounts.decode(data)


def find_ids(transaction: ReadTransaction, numbers: Iterable[int]) -> dict[int, Account]:
    """Return the accounts with these ids, by id. Missing ones are left out."""
    found = transaction.get_many(ACCOUNTS, [number_key(number) for number in numbers])
    return {number_of(key): records.accounts.decode(data) for key, data in found.items()}


def find_directory_id(transaction: ReadTransaction, directory_id: str) -> Account | None:
    """Return the account of a user of the LDAP directory, by the user's stable id."""
    number = transaction.get(DIRECTORY_IDS, directory_id.encode())
    return None if number is None else find_id(transaction, number_of(number))


def get(transaction: ReadTransaction, name: str, kind: AccountKind | None = None) -> Account:
    """Return the account with this name. Raises `AccountUnknown`, also if it is of another kind."""
    account = find(transaction, name)
    if account is None or kind not in (None, account.kind):
        raise AccountUnknown(f"there is no {kind or 'account'} {name[:80]!r}")
    return account


def scan(transaction: ReadTransaction, after: str = "") -> Iterator[Account]:
    """Yield all accounts with a name greater than `after`, by name."""
    key = after.encode("ascii", "replace")[:255]
    for _, number in transaction.scan(ACCOUNT_NAMES, after=key):
        account = find_id(transaction, number_of(number))
        if account is not None:
            yield account


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account to create. `directory_id` is the user's stable id in the LDAP directory."""

    name: AccountName
    kind: AccountKind = "user"
    is_admin: bool = False
    full_name: str = ""
    directory_id: str = ""


def create(transaction: WriteTransaction, author: Author, new: NewAccount) -> Account:
    """Create an active account. Raises `Conflict` if the name is taken."""
    if find(transaction, new.name.text) is not None:
        raise Conflict(f"the name {new.name} is taken: users and organizations share one namespace")
    account = Account(
        version=1,
        id=transaction.take(META, b"identity_id"),
        name=new.name.text,
        kind=new.kind,
        created_at=author.now,
        is_admin=new.is_admin,
        full_name=new.full_name,
        directory_id=new.directory_id,
    )
    _put(transaction, author, account)
    return account


def put(transaction: WriteTransaction, author: Author, old: Account, new: Account) -> None:
    """Change an account from `old` to `new`, but not its name.

    Raises `Conflict` if `old` is the last active local administrator, and `new` is not.
    """
    assert (old.id, old.name) == (new.id, new.name)
    if old == new:
        return
    if old.is_admin and old.is_active and not (new.is_admin and new.is_active):
        _refuse_last_admin(transaction, old)
    if old.is_active and not new.is_active:
        new = end_sign_ins(transaction, new)
    if old.directory_id and old.directory_id != new.directory_id:
        transaction.delete(DIRECTORY_IDS, old.directory_id.encode())
    _put(transaction, author, new)


def rename(
    transaction: WriteTransaction, author: Author, account: Account, name: AccountName
) -> Account:
    """Change the name of an account. Return the changed account.

    The caller must move rows that have the name in their keys first (`teams.rename_member`). Raises
    `Conflict` if the name is taken, or if repositories have the old or the new name.
    """
    if find(transaction, name.text) is not None:
        raise Conflict(f"the name {name} is taken: users and organizations share one namespace")
    if owns_repositories(transaction, account.name):
        raise Conflict(f"{account.name} has repositories, which its new name would not have")
    if owns_repositories(transaction, name.text):
        raise Conflict(f"there are repositories below {name}/, which {account.name} would get")
    transaction.delete(ACCOUNT_NAMES, account.name.encode())
    new = msgspec.structs.replace(account, name=name.text)
    _put(transaction, author, new)
    return new


def delete(transaction: WriteTransaction, author: Author, account: Account) -> None:
    """Remove an account's own rows. The caller must have removed the rows that refer to it.

    Raises `Conflict` for the last local administrator, and while the account has repositories.
    """
    if owns_repositories(transaction, account.name):
        raise Conflict(f"{account.name} has repositories: delete them first")
    if account.is_admin and account.is_active:
        _refuse_last_admin(transaction, account)
    transaction.delete(ACCOUNTS, number_key(account.id))
    transaction.delete(ACCOUNT_NAMES, account.name.encode())
    transaction.delete(PASSWORDS, number_key(account.id))
    known_addresses.forget_all(transaction, account.id)
    if account.directory_id:
        transaction.delete(DIRECTORY_IDS, account.directory_id.encode())
    record_change(transaction, author, "account.delete", {"id": account.id, "name": account.name})


def end_sign_ins(transaction: WriteTransaction, account: Account) -> Account:
    """Return the account with a new generation, which ends all its sign-ins.

    Sessions, refresh tokens and access tokens of the sign-ins end; stored tokens do not. The caller
    must store it. The number comes from a counter, so it is new even after a restore of a backup
    that does not know the latest generations.
    """
    number = transaction.take(META, b"identity_id")
    return msgspec.structs.replace(account, generation=max(account.generation + 1, number))


def password(transaction: ReadTransaction, account: Account) -> Password | None:
    """Return the hash of the account's password; None if it has none."""
    data = transaction.get(PASSWORDS, number_key(account.id))
    return None if data is None else records.passwords.decode(data)


def set_password(
    transaction: WriteTransaction, author: Author, account: Account, password_hash: str
) -> None:
    """Set a local user's password. It ends all sign-ins with the former one.

    Raises `AccountInvalid` for an organization, `Conflict` for a user of the directory.
    """
    if not account.is_user:
        raise AccountInvalid(f"{account.name} is an organization, which has no password")
    if not account.is_local:
        raise Conflict(f"{account.name} has the password of the LDAP directory: change it there")
    remember_password(transaction, account, password_hash, author.now)
    _put(transaction, author, end_sign_ins(transaction, account))


def remember_password(
    transaction: WriteTransaction, account: Account, password_hash: str, now: int
) -> None:
    """Keep the hash of a password that was right at `now`."""
    data = records.passwords.encode(Password(1, password_hash, now))
    transaction.put(PASSWORDS, number_key(account.id), data)


def owns_repositories(transaction: ReadTransaction, name: str) -> bool:
    """Return True if a repository has this name, or begins with this name and a slash."""
    if transaction.get(REPOSITORIES, name.encode()) is not None:
        return True
    prefix = name.encode() + b"/"
    return any(True for _ in transaction.scan(REPOSITORIES, prefix, limit=1))


def _put(transaction: WriteTransaction, author: Author, account: Account) -> None:
    key = number_key(account.id)
    data = records.accounts.encode(account)
    transaction.put(ACCOUNTS, key, data)
    transaction.put(ACCOUNT_NAMES, account.name.encode(), key)
    if account.directory_id:
        transaction.put(DIRECTORY_IDS, account.directory_id.encode(), key)
    record_change(transaction, author, "account.put", {"record": data})


def _refuse_last_admin(transaction: ReadTransaction, account: Account) -> None:
    """Raise `Conflict` if no other account is an active local system administrator."""
    others = (a for a in scan(transaction) if a.is_admin and a.is_active and a.is_local)
    if account.is_local and all(other.id == account.id for other in others):
        raise Conflict(
            f"{account.name} is the last active local system administrator: make another one first"
        )


def create_first(transaction: WriteTransaction, author: Author, password_hash: str) -> bool:
    """Create the account `admin` if there is no account. Return False if there is one."""
    if any(True for _ in transaction.scan(ACCOUNT_NAMES, limit=1)):
        return False
    account = create(transaction, author, NewAccount(AccountName("admin"), is_admin=True))
    remember_password(transaction, account, password_hash, author.now)
    return True

"""Users from a file: a table of comma-separated values, as spreadsheets write it."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import partial

from dtrfast.api.v0 import objects, texts
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.errors import Conflict, Invalid, SettingsInvalid
from dtrfast.identity import accounts, passwords
from dtrfast.identity.accounts import NewAccount
from dtrfast.identity.events import Detail
from dtrfast.identity.names import AccountName
from dtrfast.index.engine import WriteTransaction

operations = Operations("accounts")

# Hashing so many passwords takes about five seconds.
_ROWS_MAX = 250
_FULL_NAME_LENGTH_MAX = 255
_COLUMNS = ("username", "password", "fullName", "isAdmin")
_YES = frozenset({"yes", "true", "1", "admin"})
_NO = frozenset({"", "no", "false", "0"})


@dataclass(frozen=True, slots=True)
class Row:
    """A user that is to be made. Without a password nobody signs in until there is one."""

    name: AccountName
    password: str = ""
    full_name: str = ""
    is_admin: bool = False


def parse(text: str) -> list[Row]:
    """The users of a table. Raises `SettingsInvalid`, which says in what line of it.

    Its columns are `username,password,fullName,isAdmin`, or those that a first line names, in any
    order; only the name is needed.
    """
    reader = csv.reader(text.strip().splitlines(), skipinitialspace=True, strict=True)
    columns: tuple[str, ...] = _COLUMNS
    rows: list[Row] = []
    try:
        for cells in reader:
            if reader.line_num == 1 and "username" in (cell.strip().lower() for cell in cells):
                columns = _columns_of(cells)
            elif any(cells):
                rows.append(_row(columns, cells))
    except (csv.Error, Invalid) as error:
        raise SettingsInvalid(f"line {max(1, reader.line_num)}: {error}") from error
    if not 0 < len(rows) <= _ROWS_MAX:
        raise SettingsInvalid(f"give 1 to {_ROWS_MAX} users at once; these are {len(rows)}")
    names = [row.name for row in rows]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SettingsInvalid(f"{twice} is there twice")
    return rows


def _columns_of(cells: list[str]) -> tuple[str, ...]:
    known = {name.lower(): name for name in _COLUMNS}
    named = [cell.strip().lower().replace(" ", "").replace("_", "") for cell in cells]
    unknown = [name for name in named if name not in known]
    if unknown:
        raise SettingsInvalid(
            f"there is no column {unknown[0][:40]!r}; the columns are {', '.join(_COLUMNS)}"
        )
    return tuple(known[name] for name in named)


def _row(columns: tuple[str, ...], cells: list[str]) -> Row:
    if len(cells) > len(columns):
        raise SettingsInvalid(f"{len(cells)} values for the columns {', '.join(columns)}")
    given = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
    name = AccountName.parse(given.get("username", ""))
    password = given.get("password", "")
    if password:
        passwords.check_new(password, name.text)
    full_name = given.get("fullName", "")
    if len(full_name) > _FULL_NAME_LENGTH_MAX:
        raise SettingsInvalid(f"the full name of {name} is too long")
    texts.refuse(full_name, f"the full name of {name}")
    role = given.get("isAdmin", "").lower()
    if role not in _YES | _NO:
        raise SettingsInvalid(f"isAdmin is yes or no, not {role[:40]!r}")
    return Row(name, password, full_name, role in _YES)


@operations.add(
    "POST",
    "/admin/importAccounts",
    answer=objects.AccountsImported,
    body=objects.AccountsImport,
    refusals=(400,),
)
def import_accounts(call: ApiCall) -> objects.AccountsImported:
    """Make users from comma-separated values. Names that are taken are left as they are."""
    with call.identity.engine.read() as transaction:
        call.require_admin(transaction)
        rows = parse(call.body.csv)
        taken = {row.name for row in rows if accounts.find(transaction, row.name.text) is not None}
    made: list[str] = []
    for row in rows:
        if row.name not in taken:
            try:
                _make(call, row)
                made.append(row.name.text)
            except Conflict:
                taken.add(row.name)
    return objects.AccountsImported(made=made, taken=sorted(name.text for name in taken))


def _make(call: ApiCall, row: Row) -> None:
    password_hash = passwords.hash_password(row.password) if row.password else ""
    call.identity.engine.write(partial(_create, call=call, row=row, password_hash=password_hash))
    detail: Detail = {"type": "user", "admin": row.is_admin, "by": "import"}
    call.note("account.create", row.name.text, detail=detail)


def _create(transaction: WriteTransaction, call: ApiCall, row: Row, password_hash: str) -> None:
    call.require_admin(transaction)
    new = NewAccount(row.name, is_admin=row.is_admin, full_name=row.full_name)
    account = accounts.create(transaction, call.author, new)
    if password_hash:
        accounts.remember_password(transaction, account, password_hash, call.author.now)

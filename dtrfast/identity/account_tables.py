"""Tables of users in comma-separated values (CSV), as spreadsheets write them."""

from __future__ import annotations

import csv

from dtrfast.errors import Invalid, SettingsInvalid
from dtrfast.identity import passwords
from dtrfast.identity.account_management import AccountDraft
from dtrfast.identity.names import AccountName
from dtrfast.oci import characters

# The hashes of this many passwords take about five seconds.
_ROWS_MAX = 250
_FULL_NAME_LENGTH_MAX = 255
_COLUMNS = ("username", "password", "fullName", "isAdmin")
_YES = frozenset({"yes", "true", "1", "admin"})
_NO = frozenset({"", "no", "false", "0"})


def parse(text: str) -> list[AccountDraft]:
    """Return the users of a table. Raises `SettingsInvalid`, which names the line.

    The columns are `username,password,fullName,isAdmin`, unless a first line names them in another
    order. Only `username` is required.
    """
    reader = csv.reader(text.strip().splitlines(), skipinitialspace=True, strict=True)
    columns: tuple[str, ...] = _COLUMNS
    rows: list[AccountDraft] = []
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
    """Return the columns that a first line names."""
    known = {name.lower(): name for name in _COLUMNS}
    named = [cell.strip().lower().replace(" ", "").replace("_", "") for cell in cells]
    unknown = [name for name in named if name not in known]
    if unknown:
        raise SettingsInvalid(
            f"there is no column {unknown[0][:40]!r}; the columns are {', '.join(_COLUMNS)}"
        )
    return tuple(known[name] for name in named)


def _row(columns: tuple[str, ...], cells: list[str]) -> AccountDraft:
    """Return the user of a line."""
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
    characters.check_line(full_name, f"the full name of {name}")
    role = given.get("isAdmin", "").lower()
    if role not in _YES | _NO:
        raise SettingsInvalid(f"isAdmin is yes or no, not {role[:40]!r}")
    return AccountDraft(name, password=password, full_name=full_name, is_admin=role in _YES)

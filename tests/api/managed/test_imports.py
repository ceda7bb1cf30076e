"""Imports of users from comma-separated values."""

from __future__ import annotations

import pytest

from dtrfast.errors import SettingsInvalid
from dtrfast.identity.account_tables import parse
from tests.api.managed.town import Town, basic


def test_users_of_a_table_are_made(town: Town) -> None:
    table = """username, password, fullName, isAdmin
grace,a long enough one,"Hopper, Grace",yes
linus,,Linus T.,
nora,another battery,,
"""
    answer = town.api("admin", "POST", "admin/importAccounts", {"csv": table})
    assert answer == {"made": ["grace", "linus"], "taken": ["nora"]}
    grace = town.api("admin", "GET", "accounts/grace")
    assert (grace["fullName"], grace["isAdmin"]) == ("Hopper, Grace", True)
    assert town.client.get("/v2/", headers=basic("grace", "a long enough one")).status_code == 200
    assert town.client.get("/v2/", headers=basic("linus", "")).status_code == 401
    # An account that existed before keeps its password.
    assert town.client.get("/v2/", headers=basic("nora", "another battery")).status_code == 401
    made = [event for event in town.events.of("account.create") if event.detail.get("by")]
    assert [event.subject for event in made] == ["grace", "linus"]


def test_without_a_first_line_columns_come_in_order() -> None:
    (row,) = parse("grace,a long enough one,Grace Hopper,no")
    assert (row.name.text, row.full_name, row.is_admin) == ("grace", "Grace Hopper", False)
    (row,) = parse("Full Name,Username\r\nGrace Hopper,grace\r\n")
    assert (row.name.text, row.full_name, row.password) == ("grace", "Grace Hopper", "")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "1 to 250 users"),
        ("grace\nGRACE", "line 2: 'GRACE' is not a name"),
        ("grace\ngrace", "grace is there twice"),
        ("grace,short", "line 1: a password has at least 8"),
        ("grace,,,perhaps", "line 1: isAdmin is yes or no"),
        ("grace,,,,more", "line 1: 5 values"),
        ("username,shoe size\ngrace,9", "line 1: there is no column 'shoesize'"),
        ('"grace', "line 1: "),
        ("fullName,password\nx,y", "is not a name"),
        ("\n".join(f"user{number}" for number in range(251)), "these are 251"),
    ],
)
def test_nothing_is_made_of_a_table_with_a_fault(town: Town, table: str, message: str) -> None:
    with pytest.raises(SettingsInvalid, match=message):
        parse(table)
    before = town.api("admin", "GET", "accounts")
    assert town.ask("admin", "POST", "admin/importAccounts", {"csv": table}).status_code == 400
    assert town.api("admin", "GET", "accounts") == before


def test_only_administrators_import(town: Town) -> None:
    body = {"csv": "grace"}
    assert town.ask("owen", "POST", "admin/importAccounts", body).status_code == 403
    assert town.ask("", "POST", "admin/importAccounts", body).status_code == 401

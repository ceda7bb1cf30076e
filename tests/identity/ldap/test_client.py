"""The directory as slapd serves it: whole, cut, slow, encrypted, and asked by somebody hostile."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from dtrfast.errors import DirectoryUnavailable, SettingsInvalid
from dtrfast.identity.ldap.client import Directory
from dtrfast.identity.ldap.settings import GroupRef, LdapSettings, UserSet, check
from tests.identity.ldap.proxy import cutting
from tests.identity.ldap.slapd import (
    GROUPS,
    PEOPLE,
    SIZE_LIMIT,
    STAFF,
    USERS,
    Slapd,
    password_of,
    user_dn,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def directory(slapd: Slapd) -> Directory:
    return Directory(slapd.settings())


# ---- passwords -------------------------------------------------------------------------------
def test_a_password_is_verified(directory: Directory) -> None:
    assert directory.verify("user7", password_of(7))
    assert directory.verify("USER7", password_of(7))
    assert not directory.verify("user7", password_of(8))
    assert not directory.verify("nobody", password_of(7))


def test_an_empty_password_is_nobodys(directory: Directory) -> None:
    """LDAP takes it for an anonymous sign-in, and answers with success."""
    assert not directory.verify("user7", "")


@pytest.mark.parametrize(
    "login",
    ["*", "user*", "user7)(uid=*", "*)(uid=user7", "user7\0", "\\75ser7", "u" * 10_000, "(", ""],
)
def test_a_login_is_no_filter(directory: Directory, login: str) -> None:
    assert directory.find(login) is None
    assert not directory.verify(login, password_of(7))


def test_a_wrong_search_password_is_told(slapd: Slapd) -> None:
    wrong = Directory(slapd.settings(search_password="wrong"))
    with pytest.raises(DirectoryUnavailable, match="searchDN"):
        wrong.verify("user7", password_of(7))


# ---- everybody -------------------------------------------------------------------------------
def test_everybody_is_read_in_pages(directory: Directory) -> None:
    people = directory.people()
    assert USERS > SIZE_LIMIT
    assert {user.login for user in people.users} == {f"user{number}" for number in range(USERS)}
    assert people.users[7].full_name == f"User {people.users[7].login.removeprefix('user')}"
    assert people.skipped == ()


def test_user_sets(slapd: Slapd) -> None:
    sets = (
        UserSet(base_dn=PEOPLE, scope="one", filter="(uid=user1*)"),
        UserSet(base_dn=STAFF),
        UserSet(base_dn=PEOPLE, filter="(uid=user12)"),
    )
    people = Directory(slapd.settings(user_sets=sets)).people()
    logins = [user.login for user in people.users]
    assert logins.count("user12") == 1
    assert "bigboss" in logins
    assert [skipped.dn for skipped in people.skipped] == [f"uid=odd one,{STAFF}"]


def test_names_that_are_addresses(slapd: Slapd) -> None:
    sets = (UserSet(base_dn=STAFF, login_attribute="mail", login_is_email=True),)
    directory = Directory(slapd.settings(user_sets=sets))
    assert {user.login for user in directory.people().users} == {"big.boss", "odd.one"}
    assert directory.verify("big.boss", "boss password")
    assert not directory.verify("big.boss", "odd password")


def test_two_with_one_login(slapd: Slapd) -> None:
    sets = (
        UserSet(base_dn=PEOPLE, filter="(uid=user5)", login_attribute="sn"),
        UserSet(base_dn=PEOPLE, filter="(uid=user6)", login_attribute="objectClass"),
        UserSet(base_dn=PEOPLE, filter="(uid=user7)", login_attribute="objectClass"),
    )
    people = Directory(slapd.settings(user_sets=sets)).people()
    assert [user.dn for user in people.users] == [user_dn(5), user_dn(6)]
    assert [skipped.dn for skipped in people.skipped] == [user_dn(7)]


# ---- groups ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("group", "attribute", "numbers"),
    [
        ("few", "member", range(10)),
        ("all", "member", range(USERS)),
        ("outer", "member", [10, 11, 12]),
        ("innermost", "member", [10, 11, 12]),
        ("unix", "memberUid", [1, 2]),
        ("gone", "member", []),
    ],
)
def test_members(directory: Directory, group: str, attribute: str, numbers: Iterator[int]) -> None:
    users = directory.people().users
    dn = f"CN={group},{GROUPS.replace(',', ', ')}"
    (found,) = directory.members([GroupRef(dn=dn, member_attribute=attribute)], users)
    logins = {user.login for user in users if user.stable_id in found}
    assert logins == {f"user{number}" for number in numbers}


def test_groups_in_groups_can_be_left_alone(slapd: Slapd) -> None:
    directory = Directory(slapd.settings(nested_groups=False))
    users = directory.people().users
    (found,) = directory.members([GroupRef(dn=f"cn=outer,{GROUPS}")], users)
    assert len(found) == 1


# ---- encrypted -------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["ldaps", "starttls"])
def test_encrypted(slapd: Slapd, how: str) -> None:
    url = slapd.tls_url if how == "ldaps" else slapd.url
    changes = {"server_urls": (url,), "start_tls": how == "starttls"}
    trusted = Directory(slapd.settings(ca_pem=slapd.authority, **changes))
    assert trusted.verify("user7", password_of(7))
    with pytest.raises(DirectoryUnavailable):
        Directory(slapd.settings(**changes)).verify("user7", password_of(7))


# ---- out of order ----------------------------------------------------------------------------
def test_the_next_server_is_asked(slapd: Slapd) -> None:
    urls = ("ldap://127.0.0.1:1", slapd.url)
    assert Directory(slapd.settings(server_urls=urls)).verify("user7", password_of(7))


def test_down(slapd: Slapd) -> None:
    with pytest.raises(DirectoryUnavailable, match=r"127\.0\.0\.1:1"):
        Directory(slapd.settings(server_urls=("ldap://127.0.0.1:1",))).people()


def test_slow(slapd: Slapd) -> None:
    began = time.monotonic()
    with cutting(slapd.port, 100, stalls=True) as url:
        stalled = Directory(slapd.settings(server_urls=(url,), timeout_seconds=1))
        with pytest.raises(DirectoryUnavailable):
            stalled.people()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("bytes_max", [14, 200, 50_000, 300_000])
def test_cut_off(slapd: Slapd, bytes_max: int) -> None:
    """After the sign-in, in the first page, and some pages later: half of it is nothing."""
    with cutting(slapd.port, bytes_max) as url, pytest.raises(DirectoryUnavailable):
        Directory(slapd.settings(server_urls=(url,))).people()


def test_a_base_that_is_not_there_is_an_error(slapd: Slapd) -> None:
    sets = (UserSet(base_dn="ou=nowhere,dc=example,dc=org"),)
    with pytest.raises(DirectoryUnavailable, match="noSuchObject"):
        Directory(slapd.settings(user_sets=sets)).people()


# ---- settings --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "changes",
    [
        {"server_urls": ()},
        {"server_urls": ("http://x",)},
        {"server_urls": ("ldap://",)},
        {"server_urls": ("ldap://x:port",)},
        {"user_sets": ()},
        {"user_sets": (UserSet(base_dn="nowhere"),)},
        {"user_sets": (UserSet(base_dn=PEOPLE, filter="uid=x"),)},
        {"admin_group": GroupRef(dn="x")},
        {"search_password": ""},
    ],
)
def test_settings_that_cannot_be(changes: dict[str, object]) -> None:
    given: dict[str, object] = {
        "server_urls": ("ldap://x",),
        "user_sets": (UserSet(base_dn=PEOPLE),),
        "search_dn": PEOPLE,
        "search_password": "x",
    }
    check(LdapSettings(**given))  # type: ignore[arg-type]
    with pytest.raises(SettingsInvalid):
        check(LdapSettings(**{**given, **changes}))  # type: ignore[arg-type]


class Ranged:
    """What Active Directory answers of a group with more than 1500 members; slapd has no ranges."""

    def __init__(self, count: int) -> None:
        self._members = [f"cn=user{number}".encode() for number in range(count)]
        self.result = {"result": 0}
        self.response: list[dict[str, object]] = []

    def search(self, dn: str, wanted: str, *, search_scope: str, attributes: list[str]) -> None:
        _, _, given = attributes[0].partition(";range=")
        start = int(given.partition("-")[0] or 0)
        piece = self._members[start : start + 1500]
        last = start + 1500 >= len(self._members)
        end = "*" if last else str(start + len(piece) - 1)
        found = {"member": [], f"member;range={start}-{end}": piece}
        self.response = [{"type": "searchResEntry", "raw_attributes": found}]


@pytest.mark.parametrize("count", [1, 1500, 1501, 4000])
def test_members_in_ranges(slapd: Slapd, count: int) -> None:
    directory = Directory(slapd.settings())
    found = directory.group_values(Ranged(count), "cn=all", "member")
    assert found == [f"cn=user{number}" for number in range(count)]

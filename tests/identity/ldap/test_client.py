"""The LDAP client with slapd: complete, cut, slow and encrypted answers, and hostile requests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from dtrfast.errors import DirectoryObjectMissing, DirectoryUnavailable, SettingsInvalid
from dtrfast.identity.ldap.client import LdapDirectory
from dtrfast.identity.ldap.entries import read_all_values, read_pages
from dtrfast.identity.ldap.groups import GroupMembers
from dtrfast.identity.ldap.settings import GroupRef, LdapSettings, UserSet, check
from tests.identity.ldap.proxy import cutting
from tests.identity.ldap.slapd import (
    GROUPS,
    ODD,
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
def directory(slapd: Slapd) -> LdapDirectory:
    return LdapDirectory(slapd.settings())


# ---- passwords -------------------------------------------------------------------------------
def test_a_password_is_verified(directory: LdapDirectory) -> None:
    assert directory.verify("user7", password_of(7))
    assert directory.verify("USER7", password_of(7))
    assert not directory.verify("user7", password_of(8))
    assert not directory.verify("missing", password_of(7))


def test_an_empty_password_is_nobodys(directory: LdapDirectory) -> None:
    """An LDAP server takes it for an anonymous bind, and answers with success."""
    assert not directory.verify("user7", "")


@pytest.mark.parametrize(
    "login",
    ["*", "user*", "user7)(uid=*", "*)(uid=user7", "user7\0", "\\75ser7", "u" * 10_000, "(", ""],
)
def test_a_login_is_no_filter(directory: LdapDirectory, login: str) -> None:
    assert directory.find(login) is None
    assert not directory.verify(login, password_of(7))


def test_a_wrong_search_password_is_told(slapd: Slapd) -> None:
    wrong = LdapDirectory(slapd.settings(search_password="wrong"))
    with pytest.raises(DirectoryUnavailable, match="searchDN"):
        wrong.verify("user7", password_of(7))


# ---- all users -------------------------------------------------------------------------------
def test_everybody_is_read_in_pages(directory: LdapDirectory) -> None:
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
    people = LdapDirectory(slapd.settings(user_sets=sets)).people()
    logins = [user.login for user in people.users]
    assert logins.count("user12") == 1
    assert "bigboss" in logins
    assert [skipped.dn for skipped in people.skipped] == [f"uid=odd one,{STAFF}"]


def test_names_that_are_addresses(slapd: Slapd) -> None:
    sets = (UserSet(base_dn=STAFF, login_attribute="mail", login_is_email=True),)
    directory = LdapDirectory(slapd.settings(user_sets=sets))
    assert {user.login for user in directory.people().users} == {"big.boss", "odd.one"}
    assert directory.verify("big.boss", "boss password")
    assert not directory.verify("big.boss", "odd password")


def test_two_with_one_login(slapd: Slapd) -> None:
    sets = (
        UserSet(base_dn=PEOPLE, filter="(uid=user5)", login_attribute="sn"),
        UserSet(base_dn=PEOPLE, filter="(uid=user6)", login_attribute="objectClass"),
        UserSet(base_dn=PEOPLE, filter="(uid=user7)", login_attribute="objectClass"),
    )
    people = LdapDirectory(slapd.settings(user_sets=sets)).people()
    assert [user.dn for user in people.users] == [user_dn(5), user_dn(6)]
    assert [skipped.dn for skipped in people.skipped] == [user_dn(7)]


# ---- groups ----------------------------------------------------------------------------------
def members(settings: LdapSettings, group: str, attribute: str = "member") -> GroupMembers:
    directory = LdapDirectory(settings)
    dn = f"CN={group},{GROUPS.replace(',', ', ')}"
    ref = GroupRef(dn=dn, member_attribute=attribute)
    (found,) = directory.members([ref], directory.people())
    return found


@pytest.mark.parametrize(
    ("group", "attribute", "numbers"),
    [
        ("few", "member", range(10)),
        ("all", "member", range(USERS)),
        ("outer", "member", [10, 11, 12]),
        ("innermost", "member", [10, 11, 12]),
        ("unix", "memberUid", [1, 2]),
        ("unix", "1.3.6.1.1.1.1.12", [1, 2]),
        ("alias", "member", range(10)),
    ],
)
def test_members(
    directory: LdapDirectory, group: str, attribute: str, numbers: Iterator[int]
) -> None:
    people = directory.people()
    dn = f"CN={group},{GROUPS.replace(',', ', ')}"
    (found,) = directory.members([GroupRef(dn=dn, member_attribute=attribute)], people)
    logins = {user.login for user in people.users if user.stable_id in found.stable_ids}
    assert logins == {f"user{number}" for number in numbers}
    assert found.problem == ""


def test_groups_in_groups_can_be_left_alone(slapd: Slapd) -> None:
    found = members(slapd.settings(nested_groups=False), "outer")
    assert (len(found.stable_ids), found.inside, len(found.strangers)) == (1, (), 1)


def one(slapd: Slapd, **changes: object) -> LdapSettings:
    """Return settings with a single user, for tests of groups."""
    return slapd.settings(
        **{"user_sets": (UserSet(base_dn=PEOPLE, filter="(uid=user1)"),), **changes}
    )


@pytest.mark.parametrize(
    ("group", "attribute", "problem"),
    [
        ("gone", "member", "not there"),
        ("unseen", "member", "not there"),
        ("dangling", "member", "not there"),
        ("elsewhere", "member", "not there"),
        ("veiled", "member", "may not read its member"),
        ("shapeless", "member", "not there"),  # the search account may not look for it
        ("few", "membre", "no attribute membre"),
        ("few", "memberUid", "no attribute memberUid"),
        ("unix", "member", "classes (posixGroup) have no attribute member"),
        ("strangers", "member", "none of its 2 members"),
        ("few", "description", ""),
        ("void", "memberUid", ""),
        ("placeholder", "member", ""),
    ],
)
def test_a_group_that_is_missing_is_not_empty(
    slapd: Slapd, group: str, attribute: str, problem: str
) -> None:
    found = members(one(slapd), group, attribute)
    assert problem in found.problem
    assert bool(found.problem) is bool(problem)
    assert found.stable_ids == frozenset()
    assert found.is_empty is not bool(problem)


def test_members_that_are_no_users_are_told(slapd: Slapd) -> None:
    found = members(one(slapd), "few")
    assert len(found.stable_ids) == 1
    assert len(found.strangers) == 9


def test_a_group_inside_that_was_there_before_is_missed(slapd: Slapd) -> None:
    directory = LdapDirectory(slapd.settings())
    people, ref = directory.people(), GroupRef(dn=f"cn=outer,{GROUPS}")
    (found,) = directory.members([ref], people)
    assert [dn.partition(",")[0] for dn in found.inside] == ["cn=inner", "cn=innermost"]
    assert found.strangers == (f"cn=gone,{GROUPS}",)
    (missed,) = directory.members([ref], people, [f"CN=Gone, {GROUPS}"])
    assert f"cn=gone,{GROUPS}" in missed.problem


def test_members_are_found_however_their_names_are_written(slapd: Slapd) -> None:
    settings = slapd.settings(user_sets=(UserSet(base_dn=ODD),))
    assert len(LdapDirectory(settings).people().users) == 3
    found = members(settings, "spelled")
    assert (len(found.stable_ids), found.strangers) == (3, ())


def test_a_user_who_is_renamed_while_groups_are_read_stays_in_them(slapd: Slapd) -> None:
    directory = LdapDirectory(one(slapd))
    people = directory.people()
    renamed = replace(people.users[0], dn=f"uid=before,{PEOPLE}")
    (found,) = directory.members(
        [GroupRef(dn=f"cn=few,{GROUPS}")], replace(people, users=(renamed,))
    )
    assert len(found.stable_ids) == 1


# ---- user sets ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"base_dn": f"ou=nowhere,{PEOPLE}"}, "not there"),
        ({"base_dn": f"cn=dangling,{GROUPS}"}, "alias"),
        ({"base_dn": f"cn=elsewhere,{GROUPS}"}, "refers to another server"),
        ({"filter": "(uid=missing)"}, "no entry there matches the filter (uid=missing)"),
        ({"filter": "(objectClas=person)"}, "no entry there matches"),
        ({"login_attribute": "uidd"}, "shows uidd: check loginAttribute"),
        ({"login_attribute": "employeeNumber"}, "check loginAttribute"),
        ({"full_name_attribute": "displayNam"}, "check fullNameAttribute"),
        ({"full_name_attribute": "displayName"}, ""),
        ({"full_name_attribute": "commonName"}, ""),
    ],
)
def test_a_user_set_that_is_missing_is_a_problem(
    slapd: Slapd, changes: dict[str, str], reason: str
) -> None:
    given = {"base_dn": PEOPLE, "filter": "(uid=user1)", **changes}
    sets = (UserSet(base_dn=PEOPLE, filter="(uid=user2)"), UserSet(**given))  # type: ignore[arg-type]
    people = LdapDirectory(slapd.settings(user_sets=sets)).people()
    found = [*people.problems, *people.remarks]
    assert [problem.dn for problem in found] == ([given["base_dn"]] if reason else [])
    assert all(reason in problem.reason for problem in found)


@pytest.mark.parametrize("attribute", ["entryUUIDD", "objectClass"])
def test_an_id_that_is_none_is_a_problem(slapd: Slapd, attribute: str) -> None:
    sets = (UserSet(base_dn=PEOPLE, filter="(uid=user1*)"),)
    people = LdapDirectory(slapd.settings(user_sets=sets, id_attribute=attribute)).people()
    assert attribute in people.problems[0].reason


# ---- incomplete answers --------------------------------------------------------------------------
class Answers:
    """A connection to a server that gives these answers in turn. slapd gives none of them."""

    def __init__(self, *answers: dict[str, object]) -> None:
        self._answers = list(answers)
        self.result: object = None
        self.response: object = None

    def search(self, *given: object, **options: object) -> None:
        answer = self._answers.pop(0)
        names = answer.get("names", ())
        assert isinstance(names, tuple)
        self.response = [
            {"type": "searchResEntry", "dn": name, "raw_attributes": {"uid": [b"x"]}}
            for name in names
        ]
        self.response += [{"type": "searchResRef", "uri": []}] * bool(answer.get("refers"))
        cookie = {"1.2.840.113556.1.4.319": {"value": {"cookie": answer.get("cookie")}}}
        self.result = {"result": answer.get("code", 0), "controls": cookie}


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([{"names": ("a",), "cookie": b"1"}, {"names": ("b",)}], ["a", "b"]),
        ([{"cookie": b"1"}, {"names": ("b",)}], ["b"]),
        ([{"names": ("a",), "refers": True}], ["a"]),
        ([{"names": ("a",), "code": 4}], DirectoryUnavailable),  # sizeLimitExceeded
        ([{"names": ("a",), "cookie": b"1"}, {"code": 3}], DirectoryUnavailable),
        ([{"names": ("a",), "cookie": b"1"}, {"code": 11}], DirectoryUnavailable),
        ([{"refers": True}], DirectoryObjectMissing),
        ([{"code": 10}], DirectoryObjectMissing),
        ([{"code": 32}], DirectoryObjectMissing),
        ([{"code": 33}], DirectoryObjectMissing),
        ([{"code": 50}], DirectoryObjectMissing),
        ([{"names": ("a",), "cookie": b"1"}, {"code": 32}], DirectoryObjectMissing),
        ([{"cookie": b"1"}] * 1001, DirectoryUnavailable),
    ],
)
def test_pages(answers: list[dict[str, object]], outcome: object) -> None:
    def read() -> list[str]:
        pages = read_pages(
            Answers(*answers), "dc=x", "(uid=*)", scope="x", attributes=["uid"], page_size=10
        )
        return [entry.dn for entry in pages]

    if isinstance(outcome, list):
        assert read() == outcome
    else:
        with pytest.raises(DirectoryUnavailable) as raised:
            read()
        assert type(raised.value) is outcome


# ---- encrypted -------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["ldaps", "starttls"])
def test_encrypted(slapd: Slapd, how: str) -> None:
    url = slapd.tls_url if how == "ldaps" else slapd.url
    changes = {"server_urls": (url,), "start_tls": how == "starttls"}
    trusted = LdapDirectory(slapd.settings(ca_pem=slapd.authority, **changes))
    assert trusted.verify("user7", password_of(7))
    with pytest.raises(DirectoryUnavailable):
        LdapDirectory(slapd.settings(**changes)).verify("user7", password_of(7))


# ---- failures --------------------------------------------------------------------------------
def test_the_next_server_is_asked(slapd: Slapd) -> None:
    urls = ("ldap://127.0.0.1:1", slapd.url)
    assert LdapDirectory(slapd.settings(server_urls=urls)).verify("user7", password_of(7))


def test_down(slapd: Slapd) -> None:
    with pytest.raises(DirectoryUnavailable, match=r"127\.0\.0\.1:1"):
        LdapDirectory(slapd.settings(server_urls=("ldap://127.0.0.1:1",))).people()


def test_slow(slapd: Slapd) -> None:
    began = time.monotonic()
    with cutting(slapd.port, 100, stalls=True) as url:
        stalled = LdapDirectory(slapd.settings(server_urls=(url,), timeout_seconds=1))
        with pytest.raises(DirectoryUnavailable):
            stalled.people()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("bytes_max", [14, 200, 50_000, 300_000])
def test_cut_off(slapd: Slapd, bytes_max: int) -> None:
    """It is cut after the bind, in the first page, or some pages later: no part of it counts."""
    with cutting(slapd.port, bytes_max) as url, pytest.raises(DirectoryUnavailable):
        LdapDirectory(slapd.settings(server_urls=(url,))).people()


def test_a_user_set_that_is_missing_ends_a_sign_in(slapd: Slapd) -> None:
    """A user of a later set may have the same login as a user of the missing set."""
    sets = (UserSet(base_dn="ou=nowhere,dc=example,dc=org"), UserSet(base_dn=PEOPLE))
    with pytest.raises(DirectoryUnavailable, match="user set ou=nowhere"):
        LdapDirectory(slapd.settings(user_sets=sets)).verify("user7", password_of(7))


# ---- settings --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "changes",
    [
        {"server_urls": ()},
        {"server_urls": ("http://x",)},
        {"server_urls": ("ldap://",)},
        {"server_urls": ("ldap://x:port",)},
        {"server_urls": ("ldap://x:0",)},
        {"server_urls": ("ldap://reader@x",)},
        {"server_urls": ("ldap://x?uid",)},
        {"server_urls": ("ldap://x#y",)},
        {"server_urls": ("ldap://x y",)},
        {"user_sets": ()},
        {"user_sets": (UserSet(base_dn="nowhere"),)},
        {"user_sets": (UserSet(base_dn=PEOPLE, filter="uid=x"),)},
        {"admin_group": GroupRef(dn="x")},
        {"search_password": ""},
        {"id_attribute": ""},
        {"user_sets": (UserSet(base_dn=PEOPLE, login_attribute="u)(id"),)},
        {"user_sets": (UserSet(base_dn=PEOPLE, full_name_attribute="full name"),)},
        {"admin_group": GroupRef(dn=GROUPS, member_attribute="")},
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


class RangedDirectory:
    """The answers of Active Directory for a group of over 1,500 members. slapd has no ranges."""

    def __init__(self, count: int, *, stops_at: int = -1) -> None:
        self._members = [f"cn=user{number}".encode() for number in range(count)]
        self._stops_at = stops_at
        self.result = {"result": 0}
        self.response: list[dict[str, object]] = []

    def search(self, dn: str, wanted: str, *, search_scope: str, attributes: list[str]) -> None:
        _, _, given = attributes[0].partition(";range=")
        start = int(given.partition("-")[0] or 0)
        piece = self._members[start : start + 1500]
        last = start + 1500 >= len(self._members)
        end = "*" if last else str(start + len(piece) - 1)
        found: dict[str, object] = {"Member": []}
        if start != self._stops_at:
            found[f"Member;Range={start}-{end}"] = piece
        self.response = [{"type": "searchResEntry", "dn": dn, "raw_attributes": found}]


@pytest.mark.parametrize("count", [1, 1500, 1501, 4000])
def test_members_in_ranges(count: int) -> None:
    found = read_all_values(RangedDirectory(count), "cn=all", "member")
    assert found is not None
    assert found[1] == [f"cn=user{number}" for number in range(count)]


def test_ranges_that_stop_are_no_group() -> None:
    with pytest.raises(DirectoryUnavailable, match="middle of the group"):
        read_all_values(RangedDirectory(4000, stops_at=1500), "cn=all", "member")

"""Distinguished names are compared as names. A schema tells an empty from a hidden attribute."""

from __future__ import annotations

import pytest

from dtrfast.errors import SettingsInvalid
from dtrfast.identity.ldap.dn import first_value, key_of
from dtrfast.identity.ldap.entries import IdOf, LdapEntry
from dtrfast.identity.ldap.people import PeopleCollector
from dtrfast.identity.ldap.schema import Schema, parse
from dtrfast.identity.ldap.settings import UserSet, check_dn
from dtrfast.index.engine import KEY_SIZE_MAX

SPELLINGS = [
    ("cn=a,dc=b", " CN = a , DC=b "),
    (r"cn=a\,b,dc=x", r"cn=a\2Cb,dc=x"),
    (r"cn=a\2cb,dc=x", 'cn="a,b";dc=x'),
    ("2.5.4.3=x,ou=y", "OID.2.5.4.3=X,organizationalUnitName=Y"),
    ("cn=#0403616263,dc=x", "cn=abc,dc=x"),
    ("cn=#0C02C3BC,dc=x", "cn=ü,dc=x"),
    ("cn=#04810161,dc=x", "cn=a,dc=x"),
    ("cn=a+uid=b,dc=x", "UID=b + CN=A,dc=x"),
    (r"cn=J\c3\bcrgen,dc=x", "cn=JÜRGEN,dc=x"),
    ("cn=u\u0308,dc=x", "cn=ü,dc=x"),
    (r"cn=a  b\ ,dc=x", "cn=A b,dc=x"),
    ("cn=x,dc=y#'0101'B", "cn=x,dc=y"),
    ("cn=a=b,dc=x", r"cn=a\=b,dc=x"),
    ("cn=,dc=x", "cn= ,dc=x"),
    (r"cn=a\\,dc=x", r"cn=a\5c,dc=x"),
]


def test_one_name_in_two_spellings() -> None:
    for one, other in SPELLINGS:
        assert key_of(one), one
        assert key_of(one) == key_of(other), one
        check_dn(one, "dn")


DIFFERENT = [
    ("cn=a,dc=b", r"cn=a\,dc=b"),
    ("cn=a,cn=b", "cn=b,cn=a"),
    ("cn=straße", "cn=strasse"),
    ("cn=a+cn=b", "cn=a,cn=b"),
    (r"cn=a\+uid=b", "cn=a+uid=b"),
    ("cn=#020101", "cn=1"),
    ("cn=a,dc=b", "cn=a"),
]


def test_two_names() -> None:
    for one, other in DIFFERENT:
        assert key_of(one), one
        assert key_of(one) != key_of(other), one


def test_no_name() -> None:
    for text in [
        "user1",
        "cn=a,",
        "cn=#abc",
        "cn=a,,dc=b",
        'cn="a',
        "=x",
        "cn",
        "1=x",
        ",",
        "cn=a\0",
    ]:
        assert key_of(text) is None, text
        with pytest.raises(SettingsInvalid, match="distinguished name"):
            check_dn(text, "dn")


def test_a_login_in_a_name() -> None:
    assert first_value("CN=x+UID=Ann,dc=y", "uid") == "ann"
    assert first_value("cn=ann,uid=y", "uid") == ""


SCHEMA = parse(
    (
        "( 2.5.6.0 NAME 'top' ABSTRACT MUST objectClass )",
        "( 2.5.6.9 NAME 'groupOfNames' DESC 'RFC 4519: MAY be' SUP top STRUCTURAL"
        " MUST ( member $ cn ) MAY ( owner $ description ) )",
        "( 1 NAME ( 'posixGroup' 'unixGroup' ) SUP top MUST gidNumber MAY memberUid )",
        "( 2 NAME 'special' SUP groupOfNames )",
        "nonsense",
    ),
    ("( 2.5.4.3 NAME ( 'cn' 'commonName' ) SUP name )", "( 1 NAME 'displayName' )"),
)


ABSENCES: list[tuple[Schema, list[str], str, str]] = [
    (SCHEMA, ["top", "groupOfNames"], "MEMBER", "hidden"),
    (SCHEMA, ["special"], "2.5.4.31", "hidden"),
    (SCHEMA, ["posixGROUP"], "memberUid", "empty"),
    (SCHEMA, ["unixGroup"], "memberUid", "empty"),
    (SCHEMA, ["posixGroup"], "member", "foreign"),
    (SCHEMA, ["posixGroup", "extensibleObject"], "member", "empty"),
    (SCHEMA, [], "member", "unknown"),
    (Schema({}), ["posixGroup"], "memberUid", "empty"),
    (Schema({}), ["group"], "member", "empty"),
    (Schema({}), ["groupOfNames"], "member", "unknown"),
]


def test_the_meaning_of_an_absent_attribute() -> None:
    for schema, classes, attribute, absence in ABSENCES:
        assert schema.absence(classes, attribute) == absence, (classes, attribute)


def test_a_schema_knows_attributes_by_any_name() -> None:
    assert SCHEMA.knows("CommonName")
    assert SCHEMA.knows("displayname")
    assert not SCHEMA.knows("displayNam")


def entry(dn: str, **attributes: str) -> LdapEntry:
    return LdapEntry(dn, {name.lower(): [value.encode()] for name, value in attributes.items()})


def test_users_of_a_set() -> None:
    """An id of two entries means a wrong attribute. Options and other names do not matter."""
    gathering = PeopleCollector(IdOf("entryUUID"))
    gathering.add(
        UserSet(base_dn="dc=x", full_name_attribute="commonName"),
        [
            entry("uid=a,dc=x", uid="a", entryUUID="1", **{"cn;lang-en": "A\u202eB\u200b"}),
            entry("UID=a, DC=x", uid="a", entryUUID="1"),
            entry("uid=b,dc=x", uid="b", entryUUID="1"),
            entry("uid=c,dc=x", uid="system", entryUUID="3"),
            entry("uid=d,dc=x", entryUUID="4"),
            entry("ou=e,dc=x"),
        ],
    )
    people = gathering.people()
    assert [(user.login, user.full_name, user.is_cleaned) for user in people.users] == [
        ("a", "AB", True)
    ]
    assert [(s.stable_id, s.login) for s in people.skipped] == [("3", ""), ("4", "d"), ("", "")]
    assert [problem.dn for problem in people.problems] == ["uid=b,dc=x"]


def test_ids_of_any_length_fit_into_the_index() -> None:
    def id_of(value: bytes) -> str:
        return IdOf("id")(LdapEntry("uid=a", {"id": [value]}))

    assert id_of(b"x" * KEY_SIZE_MAX) == "x" * KEY_SIZE_MAX
    long = [id_of(value) for value in (b"x" * 512, b"x" * 513, b"\xff" * 256)]
    assert len({*long}) == 3
    assert all(len(one) <= KEY_SIZE_MAX for one in long)

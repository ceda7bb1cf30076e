"""Proofs of the settings of an LDAP directory, with a real one."""

from __future__ import annotations

import socket
import time
from typing import Any

import ldap3
import msgspec

from dtrfast.errors import DirectoryUnavailable
from dtrfast.identity import accounts
from dtrfast.identity.ldap.client import LdapDirectory
from dtrfast.identity.ldap.people import DirectoryUser
from dtrfast.identity.ldap.settings import GroupRef, UserSet
from dtrfast.identity.synchronization import synchronize, synchronize_if_due
from dtrfast.registry.writing import Author
from tests.api.managed.town import Town, basic, in_memory
from tests.fakes.engine import MemoryEngine
from tests.identity.ldap.slapd import GROUPS, PEOPLE, STAFF, Slapd, password_of
from tests.settings.proof import Bench, proves

_ONE = UserSet(base_dn=PEOPLE, filter="(uid=user12)")


def _slapd(bench: Bench) -> Slapd:
    found = bench.fixture("slapd")
    assert isinstance(found, Slapd)
    return found


def _users(bench: Bench, **settings: Any) -> list[DirectoryUser] | str:
    try:
        found = LdapDirectory(_slapd(bench).settings(**{"user_sets": (_ONE,), **settings})).people()
    except DirectoryUnavailable:
        return "unavailable"
    return list(found.users)


def _count(bench: Bench, **settings: Any) -> object:
    users = _users(bench, **settings)
    return users if isinstance(users, str) else len(users)


# ---- connections -------------------------------------------------------------------------------
@proves("ldap.serverUrls", ("there", 1), ("nowhere", "unavailable"))
def asks_its_servers(bench: Bench, value: object) -> object:
    url = _slapd(bench).url if value == "there" else "ldap://127.0.0.1:1"
    return _count(bench, server_urls=(url,))


@proves("ldap.startTls", (False, 1), (True, "unavailable"))
def encrypts(bench: Bench, value: object) -> object:
    """StartTLS needs a certificate that the client trusts, and here it trusts none."""
    return _count(bench, start_tls=value)


@proves("ldap.caPem", (True, 1), (False, "unavailable"))
def trusts_authorities(bench: Bench, value: object) -> object:
    server = _slapd(bench)
    pem = server.authority if value else ""
    return _count(bench, server_urls=(server.tls_url,), ca_pem=pem)


@proves("ldap.searchDn", (True, 1), (False, "unavailable"))
def searches_as(bench: Bench, value: object) -> object:
    return _count(bench, **({} if value else {"search_dn": f"cn=missing,{PEOPLE}"}))


@proves("ldap.searchPassword", ("reader", 1), ("wrong", "unavailable"))
def searches_with(bench: Bench, value: object) -> object:
    return _count(bench, search_password=value)


@proves("ldap.timeoutSeconds", (1, True), (3, False))
def waits(bench: Bench, value: object) -> object:
    """Return True if it waits less than two seconds for a server that sends nothing."""
    silent = bench.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    url = f"ldap://127.0.0.1:{silent.getsockname()[1]}"
    began = time.monotonic()
    assert _users(bench, server_urls=(url,), timeout_seconds=value) == "unavailable"
    return time.monotonic() - began < 2


@proves("ldap.pageSize", (1000, 5), (5000, 1))
def reads_pages(bench: Bench, value: object) -> object:
    searches = []
    search = ldap3.Connection.search

    def counted(connection: Any, *given: Any, **options: Any) -> Any:
        searches.append(options["paged_size"])
        return search(connection, *given, **options)

    with bench.patch.context() as patch:
        patch.setattr(ldap3.Connection, "search", counted)
        assert _count(bench, user_sets=(UserSet(base_dn=PEOPLE),), page_size=value) == 5000
    return len(searches)


# ---- users -------------------------------------------------------------------------------------
@proves("ldap.userSets", (1, 1), (2, 2))
def reads_sets_of_users(bench: Bench, value: object) -> object:
    sets = (_ONE, UserSet(base_dn=PEOPLE, filter="(uid=user13)"))
    return _count(bench, user_sets=sets[: int(str(value))])


def _logins(bench: Bench, **fields: Any) -> list[str]:
    given = {"base_dn": PEOPLE, "filter": "(uid=user12)", **fields}
    users = _users(bench, user_sets=(UserSet(**given),))
    assert not isinstance(users, str)
    return sorted(user.login for user in users)


@proves("ldap.userSets.baseDn", (PEOPLE, ["user12"]), (STAFF, []))
def looks_below(bench: Bench, value: object) -> object:
    return _logins(bench, base_dn=value)


@proves("ldap.userSets.scope", ("subtree", ["user12"]), ("one", []))
def looks_as_deep(bench: Bench, value: object) -> object:
    return _logins(bench, base_dn=PEOPLE.partition(",")[2], scope=value)


@proves("ldap.userSets.filter", ("(uid=user12)", ["user12"]), ("(uid=user13)", ["user13"]))
def filters_users(bench: Bench, value: object) -> object:
    return _logins(bench, filter=value)


@proves("ldap.userSets.loginAttribute", ("uid", ["user12"]), ("cn", []))
def names_users(bench: Bench, value: object) -> object:
    """The common name has a blank, so it cannot be an account's name."""
    return _logins(bench, login_attribute=value)


@proves("ldap.userSets.fullNameAttribute", ("cn", "User 12"), ("uid", "user12"))
def names_users_in_full(bench: Bench, value: object) -> object:
    chosen = UserSet(base_dn=PEOPLE, filter="(uid=user12)", full_name_attribute=str(value))
    users = _users(bench, user_sets=(chosen,))
    assert not isinstance(users, str)
    return users[0].full_name


@proves("ldap.userSets.loginIsEmail", (True, ["big.boss"]), (False, []))
def takes_the_part_before_the_at(bench: Bench, value: object) -> object:
    fields = {"filter": "(mail=big.boss@*)", "login_attribute": "mail", "login_is_email": value}
    return _logins(bench, base_dn=STAFF, **fields)


@proves("ldap.idAttribute", ("uid", True), ("entryUUID", False))
def knows_users_by(bench: Bench, value: object) -> object:
    users = _users(bench, id_attribute=value)
    assert not isinstance(users, str)
    return users[0].stable_id == "user12"


# ---- groups ------------------------------------------------------------------------------------
def _admins(bench: Bench, **settings: Any) -> list[str]:
    """Return the administrators after a synchronization of some users."""
    engine = MemoryEngine()
    some = UserSet(base_dn=PEOPLE, filter="(|(uid=user1)(uid=user3)(uid=user10))")
    ldap = _slapd(bench).settings(**{"user_sets": (some,), **settings})
    synchronize(engine, ldap, Author("system", 1000))
    with engine.read() as transaction:
        return sorted(a.name for a in accounts.scan(transaction) if a.is_admin)


def _group(name: str, attribute: str = "member") -> GroupRef:
    return GroupRef(dn=f"cn={name},{GROUPS}", member_attribute=attribute)


@proves("ldap.adminGroup", ("few", ["user1", "user3"]), ("", []))
def makes_administrators(bench: Bench, value: object) -> object:
    return _admins(bench, admin_group=_group(str(value)) if value else None)


@proves("ldap.adminGroup.dn", ("few", ["user1", "user3"]), ("outer", ["user10"]))
def makes_administrators_of_a_group(bench: Bench, value: object) -> object:
    return _admins(bench, admin_group=_group(str(value)))


@proves("ldap.adminGroup.memberAttribute", ("memberUid", ["user1"]), ("member", []))
def finds_members(bench: Bench, value: object) -> object:
    return _admins(bench, admin_group=_group("unix", str(value)))


@proves("ldap.nestedGroups", (True, ["user10"]), (False, []))
def looks_into_groups(bench: Bench, value: object) -> object:
    return _admins(bench, admin_group=_group("innermost"), nested_groups=value)


@proves("ldap.removalShareMax", (0.2, 6), (1.0, 3))
def removes(bench: Bench, value: object) -> object:
    """Return the number of active users after half of six were removed from the directory."""
    engine = MemoryEngine()
    for numbers in (range(6), range(3)):
        wanted = "".join(f"(uid=user{number})" for number in numbers)
        sets = (UserSet(base_dn=PEOPLE, filter=f"(|{wanted})"),)
        ldap = _slapd(bench).settings(user_sets=sets, removal_share_max=value)
        synchronize(engine, ldap, Author("system", 1000))
    with engine.read() as transaction:
        return sum(account.is_active for account in accounts.scan(transaction))


# ---- time --------------------------------------------------------------------------------------
def _managed(bench: Bench, **settings: Any) -> Town:
    """Return a registry with this directory."""
    document = _slapd(bench).settings(user_sets=(_ONE,), **settings)
    town = bench.stack.enter_context(in_memory())
    town.api("admin", "PUT", "admin/settings/ldap", msgspec.to_builtins(document))
    return town


@proves("ldap.syncIntervalSeconds", (60.0, True), (600.0, False))
def synchronizes(bench: Bench, value: object) -> object:
    town = _managed(bench, sync_interval_seconds=value)
    synchronize_if_due(town.engine, town.events, town.clock)
    town.clock.now += 100
    return synchronize_if_due(town.engine, town.events, town.clock)


@proves("ldap.outageSeconds", (60.0, 503), (600.0, 200))
def outlasts_outages(bench: Bench, value: object) -> object:
    town = _managed(bench, outage_seconds=value)
    synchronize_if_due(town.engine, town.events, town.clock)
    headers = basic("user12", password_of(12))
    assert town.client.get("/v2/", headers=headers).status_code == 200
    gone = _slapd(bench).settings(
        server_urls=("ldap://127.0.0.1:1",), user_sets=(_ONE,), outage_seconds=value
    )
    town.api("admin", "PUT", "admin/settings/ldap", msgspec.to_builtins(gone))
    town.clock.now += 300
    return town.client.get("/v2/", headers=headers).status_code

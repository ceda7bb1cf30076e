"""The settings of an LDAP directory: its servers, its users and groups, and the times of calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Literal

import msgspec
from ldap3.core.exceptions import LDAPException
from ldap3.operation.search import parse_filter
from msgspec import Meta

from dtrfast.errors import AddressRefused, FieldProblem, SettingsInvalid
from dtrfast.identity.ldap.dn import key_of
from dtrfast.outgoing.permit import DIRECT, Setter

_match_attribute = re.compile(r"([A-Za-z][A-Za-z0-9_-]*|\d+(\.\d+)+)(;[A-Za-z0-9-]+)*").fullmatch
_Seconds = Annotated[float, Meta(gt=0, le=86_400 * 30)]


class UserSet(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True
):
    """A part of the directory that has users. `scope`: all levels below `base_dn`, or one level."""

    base_dn: str
    scope: Literal["subtree", "one"] = "subtree"
    filter: str = "(objectClass=person)"
    login_attribute: str = "uid"
    full_name_attribute: str = "cn"
    # True if the login is an e-mail address. The account's name is the part before the @.
    login_is_email: bool = False


class GroupRef(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True
):
    """A group, and the attribute with its members, which are DNs or plain logins."""

    dn: str
    member_attribute: str = "member"


class LdapSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True
):
    """A directory. Its servers have the same data, and are tried in order."""

    server_urls: tuple[str, ...]
    user_sets: tuple[UserSet, ...]
    # Encrypt a connection to an ldap:// server before anything is sent. ldaps:// is always
    # encrypted.
    start_tls: bool = False
    # Authorities for the servers' certificates, in PEM; empty: those of the system.
    ca_pem: str = ""
    search_dn: str = ""
    search_password: str = ""
    # The attribute with a user's stable id, which a rename keeps. In Active Directory: objectGUID.
    id_attribute: str = "entryUUID"
    # The group whose members are system administrators; None: this registry decides.
    admin_group: GroupRef | None = None
    # True if the members of a nested group also belong to the outer group.
    nested_groups: bool = True
    sync_interval_seconds: _Seconds = 3600.0
    timeout_seconds: Annotated[int, Meta(ge=1, le=300)] = 5
    # A password that was right counts for this long while no server answers.
    outage_seconds: Annotated[float, Meta(ge=0, le=86_400 * 30)] = 3600.0
    page_size: Annotated[int, Meta(ge=1, le=10_000)] = 500
    # The maximum share of users, of administrators, or of a team's members that one synchronization
    # removes without permission. Two of each may always be removed.
    removal_share_max: Annotated[float, Meta(ge=0, le=1)] = 0.2


def check(settings: LdapSettings) -> LdapSettings:
    """Return the settings if they are valid. Raises `SettingsInvalid`."""
    if not settings.server_urls:
        raise SettingsInvalid("serverUrls: name at least one server, such as ldaps://ldap.example")
    if not settings.user_sets:
        raise SettingsInvalid("userSets: name at least one part of the directory with users")
    problems: list[FieldProblem] = []
    for test in _tests(settings):
        try:
            test()
        except SettingsInvalid as error:
            if not error.problems:
                raise
            problems += error.problems
    if settings.search_dn and not settings.search_password:
        reason = "give the password of the search account"
        problems.append(FieldProblem("searchPassword", reason))
    if problems:
        raise SettingsInvalid.of(problems)
    return settings


def _tests(settings: LdapSettings) -> Iterator[Callable[[], None]]:
    """Yield a test of each field that has a form of its own. A test raises `SettingsInvalid`."""
    for number, url in enumerate(settings.server_urls):
        yield partial(_check_url, f"serverUrls[{number}]", url)
    yield partial(check_attribute, "idAttribute", settings.id_attribute)
    if settings.admin_group is not None:
        yield partial(check_dn, settings.admin_group.dn, "adminGroup.dn")
        yield partial(
            check_attribute, "adminGroup.memberAttribute", settings.admin_group.member_attribute
        )
    for number, one in enumerate(settings.user_sets):
        place = f"userSets[{number}]"
        yield partial(check_dn, one.base_dn, f"{place}.baseDn")
        yield partial(_check_filter, f"{place}.filter", one.filter)
        yield partial(check_attribute, f"{place}.loginAttribute", one.login_attribute)
        if one.full_name_attribute:
            yield partial(check_attribute, f"{place}.fullNameAttribute", one.full_name_attribute)


def is_same_target(stored: LdapSettings, given: LdapSettings) -> bool:
    """Return True if `given` sends `searchPassword` only to servers that `stored` names.

    It must be sent as safely, and as the password of the same entry.
    """
    return (
        set(given.server_urls) <= set(stored.server_urls)
        and (given.start_tls or not stored.start_tls)
        # A form in a browser changes the ends of lines.
        and given.ca_pem.split() == stored.ca_pem.split()
        and given.search_dn == stored.search_dn
    )


def is_encrypted(settings: LdapSettings) -> bool:
    """Return True if passwords go to every server encrypted."""
    return settings.start_tls or all(url.startswith("ldaps://") for url in settings.server_urls)


def check_dn(dn: str, field: str) -> None:
    """Raise `SettingsInvalid` unless this is a distinguished name (RFC 4514)."""
    if not key_of(dn):
        raise SettingsInvalid(f"{field}: {dn[:120]!r} is not a distinguished name")


def check_attribute(field: str, name: str) -> None:
    """Raise `SettingsInvalid` unless this is an attribute's name or number (RFC 4512, 2.5)."""
    if _match_attribute(name) is None:
        raise SettingsInvalid(f"{field}: {name[:120]!r} is not the name of an attribute")


def _check_url(field: str, url: str) -> None:
    try:
        # The same rules decide on each call, so an address that is saved can be called.
        permitted = DIRECT.permit(url, Setter.ADMINISTRATOR).url
    except AddressRefused as error:
        raise SettingsInvalid(f"{field}: {error.message}") from error
    rest = (permitted.path.strip("/"), permitted.query, permitted.fragment)
    right = permitted.scheme in ("ldap", "ldaps") and " " not in url and not any(rest)
    if not right:
        raise SettingsInvalid(f"{field}: {url[:120]!r} is not ldap://HOST or ldaps://HOST")


def _check_filter(field: str, text: str) -> None:
    try:
        parse_filter(text, None, True, None, False, False)  # type: ignore[no-untyped-call]
    except (LDAPException, AttributeError) as error:
        raise SettingsInvalid(f"{field}: {text[:120]!r} is not a search filter") from error

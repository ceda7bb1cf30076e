"""Entries of a directory, read over a connection: whole or not at all.

A result other than success ends the reading with an exception. A missing or hidden object raises
`DirectoryObjectMissing`, and a server that does not answer `DirectoryUnavailable`. Neither case
looks like an empty result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ldap3
from ldap3.core.exceptions import LDAPException

from dtrfast.errors import DirectoryObjectMissing, DirectoryUnavailable
from dtrfast.identity.ldap.dn import type_key
from dtrfast.index.engine import KEY_SIZE_MAX

SUCCESS = 0
_PAGING = "1.2.840.113556.1.4.319"
# Result codes about one object, and not about the server (RFC 4511, appendix A).
_REFERRAL = 10
_OF_AN_OBJECT = {
    _REFERRAL: "the server refers to another server, and referrals are not followed",
    17: "the directory does not know a requested attribute",
    32: "it is not there, or the search account may not see it",
    33: "it is an alias without a target",
    34: "the directory does not accept it as a distinguished name",
    36: "an alias on its path has no target",
    50: "the search account may not read it",
}
# Active Directory sends empty pages between others. A server that sends more of them never ends.
_EMPTY_PAGES_MAX = 1000
# A bound for a server that never ends. A group that grows while it is read has a few more ranges.
_RANGES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class LdapEntry:
    """An entry. `attributes` has values by the attribute's name, in lower case and with options."""

    dn: str
    attributes: dict[str, list[bytes]]

    def values(self, attribute: str) -> list[bytes]:
        """Return the values of an attribute, under any of its names and with any options. A range
        of values does not count.
        """
        exact = self.attributes.get(attribute.lower())
        if exact:
            return exact
        wanted = type_key(attribute)
        found = [
            values
            for name, values in self.attributes.items()
            if values and type_key(name) == wanted and ";range=" not in name
        ]
        return found[0] if found else []

    def texts(self, attribute: str) -> list[str]:
        """Return `values` as text."""
        return texts_of(self.values(attribute))

    def range_of(self, attribute: str) -> tuple[str, list[bytes]] | None:
        """Return the range of an attribute that the server sent, such as `0-1499`, and its values.
        None if the attribute came whole.
        """
        wanted = type_key(attribute)
        for name, values in self.attributes.items():
            if ";range=" in name and type_key(name) == wanted:
                return name.partition(";range=")[2], values
        return None


@dataclass(frozen=True, slots=True)
class IdOf:
    """A function that returns an entry's stable id. `attribute` is the attribute that has it."""

    attribute: str

    def __call__(self, entry: LdapEntry) -> str:
        """Return the id as text, empty if there is none.

        An entryUUID is ASCII; an objectGUID is 16 bytes, returned in hexadecimal. An id that is too
        long for a key of the index is replaced by its SHA-256.
        """
        values = entry.values(self.attribute)
        if not values:
            return ""
        text = values[0].decode("ascii", "replace")
        found = text if text.isascii() and text.isprintable() else values[0].hex()
        return found if len(found) <= KEY_SIZE_MAX else hashlib.sha256(values[0]).hexdigest()


def texts_of(values: Iterable[bytes]) -> list[str]:
    """Return values as text, without an error for invalid UTF-8."""
    return [value.decode("utf-8", "replace") for value in values]


def read_entry(connection: Any, dn: str, attributes: Sequence[str]) -> LdapEntry | None:
    """Return the entry with this name; None if it is missing or may not be read."""
    search = guarded(connection.search)
    search(dn, "(objectClass=*)", search_scope=ldap3.BASE, attributes=list(attributes))
    if connection.result["result"] in _OF_AN_OBJECT:
        return None
    check(connection)
    return next(iter(_entries(connection)), None)


def read_all_values(
    connection: Any, dn: str, attribute: str, others: Sequence[str] = ()
) -> tuple[LdapEntry, list[str]] | None:
    """Return an entry and all values of an attribute, which may come in ranges.

    None if the entry is missing or may not be read. `others` are more attributes of the entry.
    """
    entry = read_entry(connection, dn, [attribute, *others])
    if entry is None:
        return None
    values = entry.texts(attribute)
    part = entry.range_of(attribute)
    for _ in range(_RANGES_MAX):
        if part is None:
            return entry, values
        values += texts_of(part[1])
        end = part[0].rpartition("-")[2]
        if end == "*":
            return entry, values
        if not end.isdecimal():
            break
        more = read_entry(connection, dn, [f"{attribute};range={int(end) + 1}-*"])
        part = None if more is None else more.range_of(attribute)
        if part is None:
            break
    raise DirectoryUnavailable(f"the LDAP directory stopped in the middle of the group {dn[:200]}")


def read_pages(
    connection: Any,
    base_dn: str,
    wanted: str,
    *,
    scope: str,
    attributes: Sequence[str],
    page_size: int,
) -> Iterator[LdapEntry]:
    """Yield the entries below `base_dn` that match the filter `wanted`, page by page (RFC 2696).

    Servers send only a few hundred entries at a time. Raises `DirectoryObjectMissing`
    if the base is missing, or only another server has it.
    """
    cookie, empty, seen, references = None, 0, 0, 0
    while empty < _EMPTY_PAGES_MAX:
        guarded(connection.search)(
            base_dn,
            wanted,
            search_scope=scope,
            attributes=list(attributes),
            paged_size=page_size,
            paged_cookie=cookie,
        )
        check(connection)
        found = _entries(connection)
        references += sum(e.get("type") == "searchResRef" for e in connection.response)
        yield from found
        seen, empty = seen + len(found), 0 if found else empty + 1
        controls = connection.result.get("controls") or {}
        cookie = controls.get(_PAGING, {}).get("value", {}).get("cookie")
        if not cookie:
            if references and not seen:
                raise DirectoryObjectMissing(_OF_AN_OBJECT[_REFERRAL])
            return
    raise DirectoryUnavailable("the LDAP directory sends pages without entries and without end")


def _entries(connection: Any) -> list[LdapEntry]:
    return [
        LdapEntry(
            str(found.get("dn", "")),
            {name.lower(): values or [] for name, values in found["raw_attributes"].items()},
        )
        for found in connection.response or ()
        if found.get("type") == "searchResEntry"
    ]


def guarded(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return the call with errors of the connection raised as `DirectoryUnavailable`."""

    def guarded_call(*args: Any, **options: Any) -> Any:
        try:
            return call(*args, **options)
        except (LDAPException, OSError, UnicodeError) as error:
            message = f"the LDAP directory stopped answering ({reason_of(error)})"
            raise DirectoryUnavailable(message) from error

    return guarded_call


def check(connection: Any) -> None:
    """Raise unless the last result is success: a part of a directory must not pass for all of it.

    Raises `DirectoryObjectMissing`, `DirectoryUnavailable`.
    """
    result = connection.result
    code = result["result"]
    if code == SUCCESS:
        return
    description = f"{result.get('description', 'error')} {result.get('message', '')}".strip()
    if code in _OF_AN_OBJECT:
        raise DirectoryObjectMissing(f"{_OF_AN_OBJECT[code]} ({description[:200]})")
    raise DirectoryUnavailable(f"the LDAP directory answered: {description[:200]}")


def reason_of(error: BaseException) -> str:
    """Return a short text for an error."""
    return str(error)[:200] or type(error).__name__

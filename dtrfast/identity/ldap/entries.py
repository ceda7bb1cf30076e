"""Entries of a directory as a connection gives them, whole or not at all.

A result that is not success ends what is being read. An object that is not there, or that the
search account may not see, is told apart from a server that does not answer: neither is empty.
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
# Results that speak of one object, and not of the server (RFC 4511, appendix A).
_REFERRAL = 10
_OF_AN_OBJECT = {
    _REFERRAL: "the server refers to another one, which is not asked",
    17: "the directory does not know an attribute that is asked for",
    32: "it is not there, or the search account may not see it",
    33: "it is an alias that leads nowhere",
    34: "the directory takes it for no distinguished name",
    36: "an alias on the way to it leads nowhere",
    50: "the search account may not read it",
}
# Active Directory sends empty pages between others. A server that sends more never ends.
_EMPTY_PAGES_MAX = 1000
# A group that grows while it is read has more ranges than it began with, but not many.
_RANGES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry. Values are by the names of their attributes, in lower case and with options."""

    dn: str
    attributes: dict[str, list[bytes]]

    def values(self, attribute: str) -> list[bytes]:
        """The values under any name of the attribute, and with options but for ranges."""
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
        return texts_of(self.values(attribute))

    def range_of(self, attribute: str) -> tuple[str, list[bytes]] | None:
        """The range in which a part of the values came, and these values."""
        wanted = type_key(attribute)
        for name, values in self.attributes.items():
            if ";range=" in name and type_key(name) == wanted:
                return name.partition(";range=")[2], values
        return None


@dataclass(frozen=True, slots=True)
class IdOf:
    """Tells an entry's stable id by the attribute that holds it."""

    attribute: str

    def __call__(self, entry: Entry) -> str:
        """The id as text: entryUUID is ASCII, objectGUID sixteen bytes. Empty if there is none. Of
        one that is too long for a key of the index the SHA-256.
        """
        values = entry.values(self.attribute)
        if not values:
            return ""
        text = values[0].decode("ascii", "replace")
        found = text if text.isascii() and text.isprintable() else values[0].hex()
        return found if len(found) <= KEY_SIZE_MAX else hashlib.sha256(values[0]).hexdigest()


def texts_of(values: Iterable[bytes]) -> list[str]:
    return [value.decode("utf-8", "replace") for value in values]


def read_entry(connection: Any, dn: str, attributes: Sequence[str]) -> Entry | None:
    """The entry with this name; None if it is not there or may not be read."""
    search = guarded(connection.search)
    search(dn, "(objectClass=*)", search_scope=ldap3.BASE, attributes=list(attributes))
    if connection.result["result"] in _OF_AN_OBJECT:
        return None
    check(connection)
    return next(iter(_entries(connection)), None)


def read_all_values(
    connection: Any, dn: str, attribute: str, others: Sequence[str] = ()
) -> tuple[Entry, list[str]] | None:
    """An entry, and all values of an attribute, which may come in ranges; None as `read_entry`."""
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
) -> Iterator[Entry]:
    """Entries in pages (RFC 2696), as servers answer with a few hundred at a time.

    Raises `DirectoryObjectMissing` if the base is not there, or only another server has it.
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


def _entries(connection: Any) -> list[Entry]:
    return [
        Entry(
            str(found.get("dn", "")),
            {name.lower(): values or [] for name, values in found["raw_attributes"].items()},
        )
        for found in connection.response or ()
        if found.get("type") == "searchResEntry"
    ]


def guarded(call: Callable[..., Any]) -> Callable[..., Any]:
    """The call, with what goes wrong on the wire as our exception."""

    def guarded_call(*args: Any, **options: Any) -> Any:
        try:
            return call(*args, **options)
        except (LDAPException, OSError, UnicodeError) as error:
            message = f"the LDAP directory stopped answering ({reason_of(error)})"
            raise DirectoryUnavailable(message) from error

    return guarded_call


def check(connection: Any) -> None:
    """Anything but success ends what is being read: half of a directory is none."""
    result = connection.result
    code = result["result"]
    if code == SUCCESS:
        return
    description = f"{result.get('description', 'error')} {result.get('message', '')}".strip()
    if code in _OF_AN_OBJECT:
        raise DirectoryObjectMissing(f"{_OF_AN_OBJECT[code]} ({description[:200]})")
    raise DirectoryUnavailable(f"the LDAP directory answered: {description[:200]}")


def reason_of(error: BaseException) -> str:
    return str(error)[:200] or type(error).__name__

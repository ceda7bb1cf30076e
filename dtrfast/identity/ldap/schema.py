"""The object classes of a directory (RFC 4512, 4.1.1): they explain why an attribute is absent.

A group without members is empty if its classes allow the attribute. If they require it, the search
account may not see it. If they do not know it, the settings name the wrong group or attribute.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dtrfast.identity.ldap.dn import type_key
from dtrfast.identity.ldap.entries import read_entry

Absence = Literal["empty", "hidden", "foreign", "unknown"]

# Classes of groups that may lack the attribute, by attribute; for directories that hide the schema.
_MAY_BE_EMPTY = {
    "member": {"group", "groupofmembers"},
    "memberuid": {"posixgroup"},
    "uniquemember": {"groupofuniquenames"},
}
_ANYTHING = "extensibleobject"

_drop_description = re.compile(r"DESC\s+'[^']*'").sub
_find_names = re.compile(r"NAME\s+(\([^)]*\)|'[^']*')").search
_LISTS = {
    word: re.compile(rf"\s{word}\s+(\([^)]*\)|[^\s)]+)").search for word in ("SUP", "MUST", "MAY")
}
_words = re.compile(r"[^\s$()']+").findall


@dataclass(frozen=True, slots=True)
class ObjectClass:
    """An object class: its superiors, and the keys of its required and allowed attributes."""

    superiors: frozenset[str]
    must: frozenset[str]
    may: frozenset[str]


@dataclass(frozen=True, slots=True)
class Schema:
    """Object classes by name, and all attributes. Empty if the search account may not read them."""

    classes: Mapping[str, ObjectClass]
    attributes: frozenset[str] = frozenset()

    def knows(self, attribute: str) -> bool:
        """Return True if the schema has this attribute."""
        return type_key(attribute) in self.attributes

    def absence(self, object_classes: Iterable[str], attribute: str) -> Absence:
        """Return the reason for which an entry of these classes shows no such attribute."""
        names, wanted = {name.strip().lower() for name in object_classes}, type_key(attribute)
        if not names:
            return "unknown"
        if names & _MAY_BE_EMPTY.get(wanted, set()) and not self.classes:
            return "empty"
        # The known classes with these names, and all their superiors.
        found: dict[str, ObjectClass] = {}
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in self.classes and name not in found:
                found[name] = self.classes[name]
                waiting += found[name].superiors
        if any(wanted in one.must for one in found.values()):
            return "hidden"
        if _ANYTHING in names or any(wanted in one.may for one in found.values()):
            return "empty"
        return "foreign" if self.classes else "unknown"


def read(connection: Any) -> Schema:
    """Return the schema of the directory's server."""
    root = read_entry(connection, "", ["subschemaSubentry"])
    places = root.texts("subschemaSubentry") if root is not None else []
    lists = ["objectClasses", "attributeTypes"]
    entry = read_entry(connection, places[0], lists) if places else None
    return parse(*(entry.texts(name) if entry is not None else () for name in lists))


def parse(definitions: Iterable[str], attributes: Iterable[str] = ()) -> Schema:
    """Return the schema for definitions of classes and attributes (RFC 4512, 4.1.1 and 4.1.2)."""
    classes: dict[str, ObjectClass] = {}
    for definition in definitions:
        text = _drop_description("", definition)
        names = _find_names(text)
        found = {word: find(text) for word, find in _LISTS.items()}
        lists = {word: _words(one[1]) if one else [] for word, one in found.items()}
        made = ObjectClass(
            frozenset(name.lower() for name in lists["SUP"]),
            frozenset(type_key(name) for name in lists["MUST"]),
            frozenset(type_key(name) for name in lists["MAY"]),
        )
        for name in _words(names[1]) if names else ():
            classes[name.lower()] = made
    named = (_find_names(_drop_description("", text)) for text in attributes)
    known = frozenset(type_key(name) for one in named if one for name in _words(one[1]))
    return Schema(classes, known)

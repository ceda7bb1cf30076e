"""Scopes: the access that a client requests for a token.

The token scope specification of the Distribution project has their grammar:

    repository:team/app:pull,push    repository(plugin):team/app:pull    registry:catalog:*

A name may have a colon (the port of a host), so the actions begin after the last colon. Malformed
scopes are dropped: a token is issued for the part of the request that can be granted.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from dtrfast.errors import NameInvalid
from dtrfast.identity.bearer import Access, access_entry, parse_access
from dtrfast.identity.caller_permits import CallerPermits
from dtrfast.index.engine import Engine
from dtrfast.oci.names import RepositoryName
from dtrfast.registry.permits import Action

# Scopes of one request. A build that mounts from many repositories requests each of them, and each
# scope costs a look-up.
SCOPES_MAX = 100
_SCOPE_LENGTH_MAX = 1024


def parse(texts: Iterable[str]) -> list[Access]:
    """Return the scopes in parameters of a request. One may have several, with spaces between."""
    entries = (entry for text in texts for entry in text.split(" ") if entry)
    found = []
    for entry in islice(entries, SCOPES_MAX):
        kind, _, rest = entry.partition(":")
        name, colon, actions = rest.rpartition(":")
        if colon and len(entry) <= _SCOPE_LENGTH_MAX:  # else it is malformed
            words = tuple(dict.fromkeys(word for word in actions.split(",") if word))
            found.append(Access(kind.partition("(")[0], name, words))
    return found


def repositories(wanted: Iterable[Access]) -> list[RepositoryName]:
    """Return the repositories of the scopes, without duplicates."""
    names = (_name_of(entry) for entry in wanted)
    return list(dict.fromkeys(name for name in names if name is not None))


def grant(engine: Engine, permits: CallerPermits, wanted: Iterable[Access]) -> list[Access]:
    """Return the scopes that a caller gets, with the actions that it may do. Scopes without any are
    left out.
    """
    asked: list[tuple[RepositoryName, Action]] = []
    others: list[Access] = []
    for entry in wanted:
        name = _name_of(entry)
        bound = parse_access(entry)
        if name is not None and bound is not None:
            asked.append((name, Action(bound.actions)))
        elif entry.type == "registry" and entry.name == "catalog" and entry.actions:
            others.append(Access("registry", "catalog", entry.actions))
    with engine.read() as transaction:
        allowed = permits.allowed(transaction, [name for name, _ in asked])
    granted: dict[str, Action] = {}
    for (name, actions), allowed_actions in zip(asked, allowed, strict=True):
        granted[name.text] = granted.get(name.text, Action(0)) | (actions & allowed_actions)
    repositories = [access_entry(name, actions) for name, actions in granted.items() if actions]
    return [*repositories, *others]


def text_of(granted: Iterable[Access]) -> str:
    """Return scopes as the text of an OAuth 2.0 answer."""
    return " ".join(f"{e.type}:{e.name}:{','.join(e.actions)}" for e in granted)


def _name_of(entry: Access) -> RepositoryName | None:
    """Return the repository of a scope; None if it has none, or its name is invalid."""
    if entry.type != "repository":
        return None
    try:
        return RepositoryName.parse(entry.name)
    except NameInvalid:
        return None

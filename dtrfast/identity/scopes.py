"""Scopes: what a client asks a token for (the Distribution project's token scope specification).

    repository:team/app:pull,push    repository(plugin):team/app:pull    registry:catalog:*

A name may hold a colon (a host's port), so actions begin behind the last one. What makes no sense
is dropped, since the answer to any scope is a token for what of it may be granted.
"""

from __future__ import annotations

from collections.abc import Iterable

from dtrfast.errors import NameInvalid
from dtrfast.identity.access import CallerPermits
from dtrfast.identity.bearer import Access, access_entry, parse_access
from dtrfast.index.engine import ReadTransaction
from dtrfast.oci.names import RepositoryName
from dtrfast.registry.permits import Action

# A build that mounts from many repositories asks for each; every one costs a look-up.
SCOPES_MAX = 100
_SCOPE_LENGTH_MAX = 1024


def parse(texts: Iterable[str]) -> list[Access]:
    """The scopes in some parameters, each of which may hold several with spaces between them."""
    entries = (entry for text in texts for entry in text.split(" ") if entry)
    parsed = (_parse_one(entry) for entry, _ in zip(entries, range(SCOPES_MAX), strict=False))
    return [entry for entry in parsed if entry is not None]


def _parse_one(text: str) -> Access | None:
    kind, _, rest = text.partition(":")
    name, colon, actions = rest.rpartition(":")
    if not colon or len(text) > _SCOPE_LENGTH_MAX:
        return None
    words = tuple(dict.fromkeys(word for word in actions.split(",") if word))
    return Access(kind.partition("(")[0], name, words)


def repositories(wanted: Iterable[Access]) -> list[RepositoryName]:
    """The repositories that are asked for."""
    names = (_name_of(entry) for entry in wanted)
    return list(dict.fromkeys(name for name in names if name is not None))


def grant(
    transaction: ReadTransaction, permits: CallerPermits, wanted: Iterable[Access]
) -> list[Access]:
    """What of it this caller gets. An entry of which nothing is granted is left out."""
    granted: dict[str, Action] = {}
    others: list[Access] = []
    for entry in wanted:
        name = _name_of(entry)
        bound = parse_access(entry)
        if name is not None and bound is not None:
            allowed = permits.verdict(transaction, name).allowed & Action(bound.actions)
            granted[name.text] = granted.get(name.text, Action(0)) | allowed
        elif _is_catalog(entry):
            others.append(Access("registry", "catalog", entry.actions))
    repositories = [access_entry(name, actions) for name, actions in granted.items() if actions]
    return [*repositories, *others]


def text_of(granted: Iterable[Access]) -> str:
    """The scopes of a token, as an OAuth answer names them."""
    return " ".join(f"{e.type}:{e.name}:{','.join(e.actions)}" for e in granted)


def _name_of(entry: Access) -> RepositoryName | None:
    if entry.type != "repository":
        return None
    try:
        return RepositoryName.parse(entry.name)
    except NameInvalid:
        return None


def _is_catalog(entry: Access) -> bool:
    return entry.type == "registry" and entry.name == "catalog" and bool(entry.actions)

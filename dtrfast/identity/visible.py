"""The names of the repositories that a caller may see, in order."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from dtrfast.identity import destinations, grants, trusts
from dtrfast.identity.access import Proof, prove
from dtrfast.identity.bounds import pull_patterns
from dtrfast.identity.callers import Caller
from dtrfast.index.engine import ReadTransaction, Table
from dtrfast.index.tables import CATALOG, PUBLIC, REPOSITORIES, REPOSITORY_NAMES, number_key


def names(
    transaction: ReadTransaction,
    caller: Caller,
    after: bytes,
    may_list: Callable[[bytes], bool],
    *,
    with_empty: bool = False,
) -> Iterator[bytes]:
    """Return the names of the repositories from which a caller may pull, in order.

    They are greater than `after`. Empty repositories are left out unless `with_empty`. `may_list`
    decides on a repository whose trusts let a job in. The cost grows with the names that are read,
    and with the caller's grants. Raises `TokenInvalid`.
    """
    table = _NameTable(transaction, REPOSITORIES if with_empty else CATALOG, after)
    if caller.kind == "system":
        return table.below(b"")
    if caller.kind == "job":
        prove(transaction, caller)
        trusted = trusts.names_of(transaction, caller.trusts)
        found = _unique(heapq.merge(table.public(), table.present(trusted)))
        return (n for n in found if table.is_public(n) or may_list(n))
    proof = prove(transaction, caller)
    patterns = _patterns_of(transaction, caller, proof)
    # An access token with the scope for lists shows as many names as its stored token does.
    for bounds in (proof.bounds, None if caller.lists else caller.bounds):
        if bounds is not None:
            patterns = pull_patterns(patterns, bounds)
    return table.covered(patterns)


def _patterns_of(transaction: ReadTransaction, caller: Caller, proof: Proof) -> Iterable[str]:
    """Return patterns of the repositories from which an account may pull, without public ones.

    They are those of its namespaces and its grants. A robot gets those of its organization.
    """
    if caller.kind == "robot":
        return destinations.patterns_of(transaction, [caller.account_id])
    standing = proof.standing(transaction)
    if standing.is_admin:
        return ["*"]
    namespaces = set(standing.owned)
    granted: list[str] = []
    for grantee in standing.grantees:
        for place, _ in grants.of_grantee(transaction, grantee):
            if grants.is_namespace(place):
                namespaces.add(place.id)
            else:
                name = transaction.get(REPOSITORY_NAMES, number_key(place.id))
                granted.append("" if name is None else name.decode())  # "": in the trash
    return chain(granted, destinations.patterns_of(transaction, namespaces))


@dataclass(frozen=True, slots=True)
class _NameTable:
    """A table whose keys are names of repositories. It is read after the name `after`."""

    transaction: ReadTransaction
    table: Table
    after: bytes

    def below(self, prefix: bytes) -> Iterator[bytes]:
        """Return the names that begin with `prefix`."""
        return (n for n, _ in self.transaction.scan(self.table, prefix, after=self.after))

    def covered(self, patterns: Iterable[str]) -> Iterator[bytes]:
        """Return the names that the patterns match, and the public ones, each once and in order."""
        unique = set(patterns)
        whole = sorted(pattern.encode() for pattern in unique if not pattern.endswith("*"))
        prefixes: list[str] = []
        for prefix in sorted(pattern[:-1] for pattern in unique if pattern.endswith("*")):
            if not prefixes or not prefix.startswith(prefixes[-1]):  # else it adds no name
                prefixes.append(prefix)
        sources = (self.below(prefix.encode()) for prefix in prefixes)
        return _unique(heapq.merge(self.public(), self.present(whole), *sources))

    def is_public(self, name: bytes) -> bool:
        """Return True if the repository is public."""
        return self.transaction.get(PUBLIC, name) is not None

    def public(self) -> Iterator[bytes]:
        """Return the names of public repositories."""
        return self.present(n for n, _ in self.transaction.scan(PUBLIC, after=self.after))

    def present(self, names: Iterable[bytes]) -> Iterator[bytes]:
        """Return those of `names` that are in the table."""
        return (
            n for n in names if n > self.after and self.transaction.get(self.table, n) is not None
        )


def _unique(names: Iterable[bytes]) -> Iterator[bytes]:
    """Yield names that are in order, each once."""
    last = b""
    for name in names:
        if name != last:
            last = name
            yield name

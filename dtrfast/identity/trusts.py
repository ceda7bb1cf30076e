"""Which jobs may use a repository without a secret: functions over a transaction.

A trust belongs to a repository and names an issuer, patterns for claims of its tokens, and what
may be done. `oidc` decides whether a token's claims match.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from dtrfast.errors import Corrupt, CredentialUnknown
from dtrfast.identity.changing import changed
from dtrfast.identity.oidc import Trust
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import TRUSTS, number_key
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import repositories
from dtrfast.registry.permits import NOTHING, Action
from dtrfast.registry.writing import Author

_ACTIONS = {"pull": Action.PULL, "push": Action.PUSH, "delete": Action.DELETE}


def of_repository(transaction: ReadTransaction, repository_id: int) -> Iterator[Trust]:
    """The trusts of a repository, by name."""
    for _, data in transaction.scan(TRUSTS, number_key(repository_id)):
        yield _decode(data)


def get(transaction: ReadTransaction, repository_id: int, name: str) -> Trust:
    """Raises `CredentialUnknown`."""
    data = transaction.get(TRUSTS, _key(repository_id, name))
    if data is None:
        raise CredentialUnknown(f"the repository has no trust {name[:80]!r}")
    return _decode(data)


def put(transaction: WriteTransaction, author: Author, name: RepositoryName, trust: Trust) -> None:
    """Add a trust to a repository, in place of one of the same name. Raises `RepositoryUnknown`."""
    repository_id = repositories.get(transaction, name)
    data = msgspec.json.encode(trust)
    transaction.put(TRUSTS, _key(repository_id, trust.name), data)
    changed(transaction, author, "trust.put", {"trust": data}, repository=name.text)


def remove(
    transaction: WriteTransaction, author: Author, name: RepositoryName, trust_name: str
) -> None:
    """Raises `CredentialUnknown`, `RepositoryUnknown`."""
    repository_id = repositories.get(transaction, name)
    get(transaction, repository_id, trust_name)
    transaction.delete(TRUSTS, _key(repository_id, trust_name))
    changed(transaction, author, "trust.delete", {"name": trust_name}, repository=name.text)


def remove_all(transaction: WriteTransaction, author: Author, name: RepositoryName) -> None:
    """Remove the trusts of a repository that another account gets. Raises `RepositoryUnknown`."""
    repository_id = repositories.get(transaction, name)
    for trust in list(of_repository(transaction, repository_id)):
        remove(transaction, author, name, trust.name)


def rights(transaction: ReadTransaction, names: Iterable[str], name: RepositoryName) -> Action:
    """What a job may do with a repository: `names` are the trusts that let it in, each as the
    repository's name, a space and the trust's.
    """
    found = repositories.find(transaction, name)
    if found is None:
        return NOTHING
    actions = NOTHING
    for entry in names:
        repository, _, trust_name = entry.partition(" ")
        data = transaction.get(TRUSTS, _key(found, trust_name))
        if repository == name.text and data is not None:
            actions |= actions_of(_decode(data))
    return actions


def actions_of(trust: Trust) -> Action:
    """What the trust lets a job do."""
    actions = Action.PULL
    for word in trust.actions:
        actions |= _ACTIONS[word]
    return actions


def _key(repository_id: int, name: str) -> bytes:
    return number_key(repository_id) + name.encode("utf-8", "surrogatepass")[:255]


def _decode(data: bytes) -> Trust:
    try:
        return msgspec.json.decode(data, type=Trust)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"a trust cannot be read ({error})") from error

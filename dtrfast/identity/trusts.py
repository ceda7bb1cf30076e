"""Trusts: the jobs that may use a repository without a secret. Functions over a transaction.

A trust belongs to a repository. It names an issuer, patterns for claims of its tokens, and the
allowed actions. `oidc.matches` compares a token's claims.

A job's access token has the ids of the trusts that let the job in, and the claims that they
compare. Each use of the token thus checks again that the trust exists and still matches this job.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import msgspec

from dtrfast.errors import Corrupt, CredentialUnknown, SettingsInvalid, TokenInvalid
from dtrfast.identity import settings
from dtrfast.identity.callers import JobIdentity
from dtrfast.identity.change_record import record_change
from dtrfast.identity.oidc import Issuer, Trust, claims_seen, identity_of, matches
from dtrfast.identity.settings import OidcSettings
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import META, REPOSITORY_NAMES, TRUSTS, number_key, number_of
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import repositories
from dtrfast.registry.permits import NOTHING, Action
from dtrfast.registry.writing import Author

_ACTIONS = {"pull": Action.PULL, "push": Action.PUSH, "delete": Action.DELETE}


class TrustRecord(Trust, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """A stored trust. A trust that is removed and created again has another id.

    `issuer_id` is the identity of the issuer that had the name when the trust was created
    (`oidc.identity_of`). Another issuer that gets the name later is not trusted. Both are empty in
    records of older versions.
    """

    id: int = 0
    issuer_id: str = ""


def of_repository(transaction: ReadTransaction, repository_id: int) -> Iterator[TrustRecord]:
    """Yield the trusts of a repository, by name."""
    for _, data in transaction.scan(TRUSTS, number_key(repository_id)):
        yield _decode(data)


def get(transaction: ReadTransaction, repository_id: int, name: str) -> TrustRecord:
    """Return the trust with this name. Raises `CredentialUnknown`."""
    data = transaction.get(TRUSTS, _key(repository_id, name))
    if data is None:
        raise CredentialUnknown(f"the repository has no trust {name[:80]!r}")
    return _decode(data)


def put(transaction: WriteTransaction, author: Author, name: RepositoryName, trust: Trust) -> None:
    """Add a trust to a repository, in place of one with the same name.

    The trust keeps its id unless its issuer changes: each use compares the claims anyway. Raises
    `RepositoryUnknown`, and `SettingsInvalid` if there is no such issuer.
    """
    repository_id = repositories.get(transaction, name)
    issuer = known_issuers(transaction).find(trust.issuer)
    if issuer is None:
        raise SettingsInvalid(
            f"issuer: none is called {trust.issuer[:80]!r}: an administrator has to add it first"
        )
    old = transaction.get(TRUSTS, _key(repository_id, trust.name))
    before = None if old is None else _decode(old)
    issuer_id = identity_of(issuer)
    is_kept = before is not None and before.id > 0 and before.issuer_id == issuer_id
    number = before.id if before and is_kept else transaction.take(META, b"identity_id")
    fields = msgspec.structs.asdict(trust)
    record = TrustRecord(**{**fields, "id": number, "issuer_id": issuer_id})
    _write(transaction, author, repository_id, record)


def _write(
    transaction: WriteTransaction, author: Author, repository_id: int, record: TrustRecord
) -> None:
    data = msgspec.json.encode(record)
    transaction.put(TRUSTS, _key(repository_id, record.name), data)
    name = transaction.get(REPOSITORY_NAMES, number_key(repository_id))
    if name is not None:  # else the repository is in the trash, and its restore keeps the trust
        record_change(transaction, author, "trust.put", {"trust": data}, repository=name.decode())


def remove(
    transaction: WriteTransaction, author: Author, name: RepositoryName, trust_name: str
) -> None:
    """Remove a trust. Raises `CredentialUnknown`, `RepositoryUnknown`."""
    repository_id = repositories.get(transaction, name)
    get(transaction, repository_id, trust_name)
    transaction.delete(TRUSTS, _key(repository_id, trust_name))
    record_change(transaction, author, "trust.delete", {"name": trust_name}, repository=name.text)


def remove_all(transaction: WriteTransaction, author: Author, name: RepositoryName) -> None:
    """Remove the trusts of a repository that another account gets. Raises `RepositoryUnknown`."""
    repository_id = repositories.get(transaction, name)
    for trust in list(of_repository(transaction, repository_id)):
        remove(transaction, author, name, trust.name)


# ---- jobs --------------------------------------------------------------------------------------
def letting_in(
    transaction: ReadTransaction,
    name: RepositoryName,
    issuer: Issuer,
    claims: Mapping[str, object],
) -> list[tuple[int, TrustRecord]]:
    """Return the trusts of a repository that let a job of the issuer in, each with the repository's
    id.
    """
    repository_id = repositories.find(transaction, name)
    if repository_id is None:
        return []
    issuers = known_issuers(transaction)
    return [
        (repository_id, trust)
        for trust in of_repository(transaction, repository_id)
        if _means(trust, identity_of(issuer), issuers) and matches(trust, claims)
    ]


def claims_of(trusted: Collection[Trust], claims: Mapping[str, object]) -> dict[str, object]:
    """Return the claims that the trusts compare, by path. Of a list, only the items that match a
    trust. A missing claim is None.
    """
    seen: dict[str, object] = {}
    for trust in trusted:
        for path, value in claims_seen(trust, claims).items():
            kept = seen.get(path)
            if isinstance(kept, list) and isinstance(value, list):
                value = [*kept, *(item for item in value if item not in kept)]
            seen[path] = value
    return seen


def rights(
    transaction: ReadTransaction,
    trusted: Collection[tuple[int, int]],
    job: JobIdentity,
    name: RepositoryName,
) -> Action:
    """Return the actions that a job may do with a repository.

    `trusted` are the trusts that let the job in at sign-in, as pairs of ids: the repository's and
    the trust's.
    """
    found = repositories.find(transaction, name)
    actions = NOTHING
    if found is None or not any(repository == found for repository, _ in trusted):
        return actions
    issuers = known_issuers(transaction)
    for trust in of_repository(transaction, found):
        is_named = (found, trust.id) in trusted and _means(trust, job.issuer, issuers)
        if is_named and matches(trust, job.claims):
            actions |= actions_of(trust)
    return actions


def confirm(transaction: ReadTransaction, job: JobIdentity) -> None:
    """Raise `TokenInvalid` if the job's issuer is no longer trusted."""
    if not any(identity_of(one) == job.issuer for one in known_issuers(transaction).issuers):
        raise TokenInvalid("the issuer of the job's token is no longer trusted")


def names_of(transaction: ReadTransaction, trusted: Collection[tuple[int, int]]) -> list[bytes]:
    """Return the names of the repositories to which these trusts belong, in order.

    `trusted` is as for `rights`. Repositories in the trash are left out.
    """
    numbers = {number_key(repository) for repository, _ in trusted}
    return sorted(filter(None, (transaction.get(REPOSITORY_NAMES, n) for n in numbers)))


# ---- issuers -----------------------------------------------------------------------------------
def known_issuers(transaction: ReadTransaction) -> OidcSettings:
    """Return the issuers that are trusted now."""
    return settings.get(transaction, OidcSettings) or OidcSettings()


def is_in_force(trust: TrustRecord, issuers: OidcSettings) -> bool:
    """Return True if the issuer that the trust means still has its name."""
    issuer = issuers.find(trust.issuer)
    return issuer is not None and trust.issuer_id in ("", identity_of(issuer))


def pin(transaction: WriteTransaction, author: Author) -> None:
    """Bind trusts of older versions to the present issuers of their names. Call it before the
    issuers change.
    """
    issuers = known_issuers(transaction)
    for key, data in list(transaction.scan(TRUSTS)):
        trust = _decode(data)
        issuer = issuers.find(trust.issuer)
        if not trust.issuer_id and issuer is not None:
            bound = msgspec.structs.replace(trust, issuer_id=identity_of(issuer))
            _write(transaction, author, number_of(key), bound)


def _means(trust: TrustRecord, issuer_id: str, issuers: OidcSettings) -> bool:
    """Return True if the trust names an issuer with this identity and is in force."""
    issuer = issuers.find(trust.issuer)
    return issuer is not None and identity_of(issuer) == issuer_id and is_in_force(trust, issuers)


def actions_of(trust: Trust) -> Action:
    """Return the actions that the trust lets a job do. Pull is always one of them."""
    actions = Action.PULL
    for word in trust.actions:
        actions |= _ACTIONS[word]
    return actions


def _key(repository_id: int, name: str) -> bytes:
    return number_key(repository_id) + name.encode("utf-8", "surrogatepass")[:255]


def _decode(data: bytes) -> TrustRecord:
    try:
        return msgspec.json.decode(data, type=TrustRecord)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"a trust cannot be read ({error})") from error

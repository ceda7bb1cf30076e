"""How much room something takes, how much of it is its own, and what deleting it would free.

Every figure holds for one change number: if something changed meanwhile it is measured again, and
after some tries told as not exact. Deleting frees nothing before the trash is over.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import msgspec

from dtrfast.errors import ManifestUnknown
from dtrfast.index import counters
from dtrfast.index.engine import Engine, ReadTransaction
from dtrfast.index.tables import (
    LINKS,
    MANIFESTS,
    META,
    REFERENCES,
    REFERENCES_DELETED,
    REPOSITORIES_TRASHED,
    REPOSITORY_NAMES,
    TRASH,
    USAGES,
    number_key,
    number_of,
)
from dtrfast.oci.digests import Digest, Reference
from dtrfast.oci.manifests import Manifest, read_manifest
from dtrfast.oci.media_types import MANIFEST_TYPES
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import deleted, deletion, keys, repositories, tags
from dtrfast.registry.permits import Action, Permits
from dtrfast.registry.records import StoredManifest
from dtrfast.store import links
from dtrfast.store.blobs import BlobStore, RepositoryId

_TRIES = 3
# A layer that more repositories than this hold is nobody's to free.
_HOLDERS_MAX = 10_000


class Numbers(msgspec.Struct, frozen=True, array_like=True):
    """Sizes in bytes. `logical` is what a client that has nothing would pull, `stored` what lies on
    disk for it, of which `unique` is needed by nothing else. New fields come with a default.
    """

    version: int
    change_number: int
    is_exact: bool
    manifests: int
    blobs: int
    logical: int
    stored: int
    unique: int
    freed: int  # if it was deleted, once that is out of the trash

    @property
    def shared(self) -> int:
        return self.stored - self.unique


@dataclass(slots=True)
class Asked:
    """What is asked about: blobs, the repositories that would let go of them, and those of them
    that something there keeps, be it a part of what is asked about that does not go.
    """

    manifests: int = 0
    manifest_bytes: int = 0
    blobs: dict[Digest, None] = field(default_factory=dict)
    leaving: set[RepositoryId] = field(default_factory=set)
    staying: set[Digest] = field(default_factory=set)
    staying_manifest_bytes: int = 0
    is_kept: bool = False  # deleting it frees nothing, since something keeps it


Ask = Callable[[ReadTransaction], Asked]

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Numbers)


def measure(engine: Engine, blobs: BlobStore, ask: Ask, permits: Permits | None = None) -> Numbers:
    """The numbers of what `ask` says. For whoever has these permits, as if there was nothing that
    they may not see: else the numbers would tell what others hold. Then `unique` and `freed` are
    the most that they can be.
    """
    for attempt in range(_TRIES):
        with engine.read() as transaction:
            before = _change_number(transaction)
            asked = ask(transaction)
            leaving = asked.leaving
            if permits is not None:
                leaving = leaving | _unseen(transaction, asked.blobs, permits)
        usage = blobs.measure(asked.blobs, leaving, asked.staying, is_alone=permits is not None)
        with engine.read() as transaction:
            is_exact = _change_number(transaction) == before
        if is_exact or attempt == _TRIES - 1:
            break
    stored = usage.stored + asked.manifest_bytes
    unique = usage.unique + asked.manifest_bytes - asked.staying_manifest_bytes
    return Numbers(
        version=1,
        change_number=before,
        is_exact=is_exact,
        manifests=asked.manifests,
        blobs=len(asked.blobs),
        logical=usage.size + asked.manifest_bytes,
        stored=stored,
        unique=unique,
        freed=0 if asked.is_kept else unique,
    )


def _unseen(
    transaction: ReadTransaction, blobs: Iterable[Digest], permits: Permits
) -> set[RepositoryId]:
    """The repositories that hold some of the blobs, and that one may not know of."""
    holders: set[RepositoryId] = set()
    for blob in blobs:
        holders.update(links.holders(transaction, blob, _HOLDERS_MAX))
    return {holder for holder in holders if not _is_seen(transaction, holder, permits)}


def _is_seen(transaction: ReadTransaction, repository: RepositoryId, permits: Permits) -> bool:
    name = transaction.get(REPOSITORY_NAMES, number_key(repository))
    return name is not None and permits.may(transaction, Action.PULL, RepositoryName(name.decode()))


def keep(engine: Engine, subject: str, numbers: Numbers) -> None:
    """Remember the numbers of a repository or a namespace, for lists."""
    key = subject.encode()
    engine.write(lambda transaction: transaction.put(USAGES, key, _encoder.encode(numbers)))


def kept(transaction: ReadTransaction, subject: str) -> Numbers | None:
    """What was remembered last; it holds for its change number."""
    data = transaction.get(USAGES, subject.encode())
    return None if data is None else _decoder.decode(data)


def _change_number(transaction: ReadTransaction) -> int:
    return counters.last(transaction, META, b"change_sequence")


# ---- what can be asked about -------------------------------------------------------------------
def of_blob(name: RepositoryName, digest: Digest) -> Ask:
    """A blob of a repository, as DELETE of the blob takes it."""

    def ask(transaction: ReadTransaction) -> Asked:
        number = repositories.get(transaction, name)
        return Asked(blobs={digest: None}, leaving={number})

    return ask


def of_manifest(name: RepositoryName, reference: Reference) -> Ask:
    """A tag or a manifest, with the manifests of an index. What a deletion frees is told without
    those of them that something else keeps. Raises `ManifestUnknown`.
    """
    return partial(_ask_manifest, name=name, reference=reference)


def of_deletion(name: RepositoryName, digests: Iterable[Digest]) -> Ask:
    """Manifests that are deleted together, with what goes with them."""
    return partial(_ask_deletion, name=name, digests=tuple(digests))


def of_repository(name: RepositoryName) -> Ask:
    """A repository. Raises `RepositoryUnknown`."""

    def ask(transaction: ReadTransaction) -> Asked:
        asked = Asked()
        _add_repository(transaction, asked, repositories.get(transaction, name))
        return asked

    return ask


def of_namespace(namespace: str) -> Ask:
    """All repositories of an account."""

    def ask(transaction: ReadTransaction) -> Asked:
        asked = Asked()
        for name in repositories.names_of(transaction, namespace):
            number = repositories.get(transaction, RepositoryName(name))
            _add_repository(transaction, asked, number)
        return asked

    return ask


def of_trash(transaction: ReadTransaction) -> Asked:
    """What only the trash holds: what emptying it would free."""
    asked = Asked()
    pairs: set[tuple[RepositoryId, Digest]] = set()
    for key, _ in transaction.scan(REPOSITORIES_TRASHED):
        repository = RepositoryId(number_of(key))
        pairs |= {(repository, digest) for digest in _held(transaction, repository)}
    for key, _ in transaction.scan(TRASH):
        if key[8:9] == b"m":
            repository, digest = RepositoryId(number_of(key[9:])), Digest.from_key(key[17:])
            pairs |= {(repository, blob) for blob in _of_deleted(transaction, repository, digest)}
    for repository, digest in pairs:
        asked.blobs[digest] = None
        asked.leaving.add(repository)
    holders = {d: links.holders(transaction, d, len(asked.leaving) + 1) for d in asked.blobs}
    asked.staying = {d for d, who in holders.items() if any((r, d) not in pairs for r in who)}
    return asked


def _of_deleted(
    transaction: ReadTransaction, repository: RepositoryId, digest: Digest
) -> Iterable[Digest]:
    """Blobs that a deleted manifest keeps, and no other does."""
    record = deleted.get(transaction, repository, digest)
    if record is None:
        return ()
    stored = record.manifest
    manifest = read_manifest(stored.body, stored.media_type)
    blobs = [*manifest.referenced_blobs(), *_blobs_in(transaction, repository, manifest)]
    return [b for b in blobs if not links.is_referenced(transaction, repository, b)]


def _blobs_in(
    transaction: ReadTransaction, repository: RepositoryId, manifest: Manifest
) -> Iterable[Digest]:
    """The entries of an index that are blobs: those of a build cache."""
    return [
        one.digest
        for one in manifest.manifests
        if one.media_type not in MANIFEST_TYPES
        and links.get(transaction, repository, one.digest) is not None
    ]


def _held(transaction: ReadTransaction, repository: RepositoryId) -> Iterable[Digest]:
    prefix = number_key(repository)
    return [Digest.from_key(key[len(prefix) :]) for key, _ in transaction.scan(LINKS, prefix)]


def _add_repository(transaction: ReadTransaction, asked: Asked, repository: RepositoryId) -> None:
    asked.leaving.add(repository)
    asked.blobs.update(dict.fromkeys(_held(transaction, repository)))
    for _, data in transaction.scan(MANIFESTS, number_key(repository)):
        asked.manifests += 1
        asked.manifest_bytes += len(StoredManifest.decode(data).body)


def _ask_manifest(
    transaction: ReadTransaction, name: RepositoryName, reference: Reference
) -> Asked:
    repository = repositories.get(transaction, name)
    if isinstance(reference, Digest):
        digest = reference
    else:
        digest = tags.get(transaction, repository, name, reference).digest
    asked = _of_manifests(transaction, repository, [digest])
    if not asked.manifests:
        raise ManifestUnknown(f"there is no manifest {reference} in {name}", detail=str(reference))
    names = tags.tags_of(transaction, repository, digest)
    others = [tag for tag in names if isinstance(reference, Digest) or tag != reference]
    asked.is_kept = bool(others) and not isinstance(reference, Digest)
    return asked


def _ask_deletion(
    transaction: ReadTransaction, name: RepositoryName, digests: tuple[Digest, ...]
) -> Asked:
    return _of_manifests(transaction, repositories.get(transaction, name), digests)


def _of_manifests(
    transaction: ReadTransaction, repository: RepositoryId, digests: Iterable[Digest]
) -> Asked:
    asked = Asked(leaving={repository})
    chosen = tuple(digests)
    going = deletion.family(transaction, repository, chosen)
    seen: set[Digest] = set()
    for digest in chosen:
        for size, one in _add_manifest(transaction, asked, repository, digest, seen):
            asked.staying_manifest_bytes += 0 if one in going else size
    asked.staying = {
        blob for blob in asked.blobs if _is_needed(transaction, repository, blob, going)
    }
    return asked


def _add_manifest(
    transaction: ReadTransaction,
    asked: Asked,
    repository: RepositoryId,
    digest: Digest,
    seen: set[Digest],
) -> Iterator[tuple[int, Digest]]:
    """Add a manifest and those of an index; tells the size of each."""
    todo = [digest]
    while todo:
        one = todo.pop()
        data = transaction.get(MANIFESTS, keys.manifest_key(repository, one))
        if data is None or one in seen:
            continue
        seen.add(one)
        stored = StoredManifest.decode(data)
        manifest = read_manifest(stored.body, stored.media_type)
        asked.manifests += 1
        asked.manifest_bytes += len(stored.body)
        asked.blobs.update(dict.fromkeys(manifest.referenced_blobs()))
        asked.blobs.update(dict.fromkeys(_blobs_in(transaction, repository, manifest)))
        todo += manifest.children()
        yield len(stored.body), one


def _is_needed(
    transaction: ReadTransaction,
    repository: RepositoryId,
    blob: Digest,
    going: Container[Digest],
) -> bool:
    """Whether a manifest that does not go refers to the blob, be it in the trash."""
    prefix = links.link_key(repository, blob)
    return any(
        Digest.from_key(key[len(prefix) :]) not in going
        for table in (REFERENCES, REFERENCES_DELETED)
        for key, _ in transaction.scan(table, prefix)
    )

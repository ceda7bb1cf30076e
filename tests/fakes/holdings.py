"""Holdings in memory: dictionaries under one lock, without an index or rows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from typing import Any

from dtrfast.errors import (
    BlobUnknown,
    Conflict,
    DtrfastError,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    RepositoryUnknown,
)
from dtrfast.index.engine import ReadTransaction
from dtrfast.oci.conditions import UNCONDITIONAL
from dtrfast.oci.digests import Digest, Reference
from dtrfast.oci.manifests import Manifest, referrer_descriptor
from dtrfast.oci.media_types import KINDS
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry.holdings import (
    ChangeRequest,
    FoundBlob,
    FoundManifest,
    Holdings,
    Lookup,
    LookupResult,
    MissingContent,
    Push,
    PushResult,
    ReferrersPage,
    RestoredManifest,
)
from dtrfast.registry.manifests import Rules, references
from dtrfast.registry.ownership import REGISTRY, Claim
from dtrfast.registry.pages import Page, cut
from dtrfast.registry.permits import Action, Permits
from dtrfast.store.blobs import BlobStat, BlobStore, Placement
from tests.fakes.engine import MemoryEngine

_RENEWALS_IN_GRACE = 10


@dataclass(frozen=True)
class _StoredManifest:
    """A manifest as it was pushed."""

    manifest: Manifest
    body: bytes

    def names(self, digest: Digest) -> bool:
        return digest in references(self.manifest)


@dataclass(frozen=True)
class _DeletedManifest:
    """A manifest in the trash."""

    kept: _StoredManifest
    tags: tuple[str, ...]
    at: int


@dataclass(frozen=True)
class _EarlierTag:
    """An earlier state of a tag."""

    tag: str
    digest: Digest
    at: int


@dataclass
class _Repository:
    """`blobs` maps to the start of each grace. `history` is ordered by the ends of its states."""

    blobs: dict[Digest, int] = field(default_factory=dict)
    manifests: dict[Digest, _StoredManifest] = field(default_factory=dict)
    trash: dict[Digest, _DeletedManifest] = field(default_factory=dict)
    tags: dict[str, Digest] = field(default_factory=dict)
    history: list[_EarlierTag] = field(default_factory=list)

    def holds_something(self) -> bool:
        return bool(self.blobs or self.manifests)

    def refers_to(self, digest: Digest) -> bool:
        return any(kept.names(digest) for kept in self.manifests.values())

    def keeps(self, digest: Digest) -> bool:
        return self.refers_to(digest) or any(one.kept.names(digest) for one in self.trash.values())

    def find(self, reference: Reference) -> Digest | None:
        digest = reference if isinstance(reference, Digest) else self.tags.get(reference.text)
        return digest if digest in self.manifests else None

    def tags_of(self, digest: Digest) -> list[str]:
        return sorted(tag for tag, target in self.tags.items() if target == digest)


class MemoryHoldings:
    """A `Holdings`. Permits that read the index see an empty one."""

    def __init__(
        self, blobs: BlobStore, rules: Rules, clock: Callable[[], int], grace_seconds: int
    ) -> None:
        # The kind, actor and repository of each change, and the digest or tag that changed.
        self.recorded: list[tuple[str, str, str, str]] = []
        self._blobs = blobs
        self._rules = rules
        self._clock = clock
        self._grace_seconds = grace_seconds
        self._repositories: dict[str, _Repository] = {}
        self._unheld: dict[Digest, int] = {}  # the number of changes when its last holder left
        self._lock = threading.Lock()
        self._no_rows = MemoryEngine()

    # ---- questions -----------------------------------------------------------------------------
    def resolve(self, questions: Sequence[Lookup]) -> list[LookupResult]:
        with self._locked() as rows:
            return [self._answer(rows, question) for question in questions]

    resolve_waiting = resolve

    def _answer(self, rows: ReadTransaction, question: Lookup) -> LookupResult:
        repository, reference = self._repository(question.name), question.reference
        try:
            question.permits.check(rows, question.action, question.name)
        except DtrfastError as error:
            return error
        if question.is_blob:
            assert isinstance(reference, Digest)
            if reference not in repository.blobs:
                return BlobUnknown(f"there is no blob {reference} in {question.name}")
            age = self._clock() - repository.blobs[reference]
            is_old = age * _RENEWALS_IN_GRACE > self._grace_seconds
            return FoundBlob(reference, is_old and not repository.refers_to(reference))
        digest = repository.find(reference)
        if digest is None:
            return ManifestUnknown(f"there is no manifest {reference} in {question.name}")
        kept = repository.manifests[digest]
        return FoundManifest(digest, kept.manifest.media_type, kept.body)

    def check(self, permits: Permits, action: Action, name: RepositoryName) -> None:
        with self._locked() as rows:
            permits.check(rows, action, name)

    def renew(self, name: RepositoryName, digest: Digest) -> None:
        with self._locked():
            repository = self._repository(name)
            if digest in repository.blobs:
                repository.blobs[digest] = self._clock()

    # ---- changes -------------------------------------------------------------------------------
    def put_manifest(self, push: Push) -> PushResult | MissingContent:
        with self._locked() as rows:
            push.permits.check(rows, Action.PUSH, push.name)
            repository = self._repository(push.name)
            if push.conditions != UNCONDITIONAL:
                push.conditions.check_change(repository.find(push.reference))
            if missing := self._missing(repository, push.manifest):
                return MissingContent(tuple(missing))
            manifest = _typed(repository, push)
            self._store(push, manifest)
            return PushResult(manifest.media_type)

    def _store(self, push: Push, manifest: Manifest) -> None:
        actor, name = push.author.actor, push.name.text
        repository = self._ensure_repository(actor, name)
        repository.trash.pop(push.digest, None)
        old = repository.manifests.get(push.digest)
        if old is None or old.manifest.media_type != manifest.media_type:
            self._record("manifest.put", actor, name, push.digest)
        repository.manifests[push.digest] = _StoredManifest(manifest, push.body)
        for tag in push.tags:
            self._set_tag(
                ChangeRequest(push.permits, push.name, push.author), tag.text, push.digest
            )

    def _set_tag(self, change: ChangeRequest, tag: str, digest: Digest) -> None:
        repository = self._repositories[change.name.text]
        old = repository.tags.get(tag, digest)
        if old != digest:
            repository.history.append(_EarlierTag(tag, old, change.author.now))
        repository.tags[tag] = digest
        self._record("tag.set", change.author.actor, change.name.text, tag)

    def _end_tag(self, change: ChangeRequest, tag: str) -> None:
        repository = self._repositories[change.name.text]
        past = _EarlierTag(tag, repository.tags.pop(tag), change.author.now)
        repository.history.append(past)
        self._record("tag.delete", change.author.actor, change.name.text, tag)

    def _missing(self, repository: _Repository, manifest: Manifest) -> list[Digest]:
        blobs = manifest.required_blobs() if self._rules.require_blobs else ()
        children = manifest.children() if self._rules.require_children else ()
        strange = (child for child in children if child not in repository.manifests)
        return [d for d in dict.fromkeys((*blobs, *strange)) if d not in repository.blobs]

    def commit_blob(self, change: ChangeRequest, placed: Placement) -> None:
        placed.settle()
        with self._locked() as rows:
            change.permits.check(rows, Action.PUSH, change.name)
            self._link(change, placed.stat.digest)

    def mount(self, change: ChangeRequest, stat: BlobStat, source: RepositoryName | None) -> bool:
        with self._locked() as rows:
            change.permits.check(rows, Action.PUSH, change.name)
            names = [*self._repositories] if source is None else [source.text]
            has_source = any(
                stat.digest in self._repository(name).blobs
                and change.permits.may(rows, Action.PULL, name)
                for name in map(RepositoryName, names)
            )
            if has_source:
                self._link(change, stat.digest)
            return has_source

    def _link(self, change: ChangeRequest, digest: Digest) -> None:
        repository = self._ensure_repository(change.author.actor, change.name.text)
        if digest not in repository.blobs:
            self._record("blob.link", change.author.actor, change.name.text, digest)
        repository.blobs[digest] = change.author.now

    def unlink(self, change: ChangeRequest, digest: Digest) -> None:
        with self._locked() as rows:
            change.permits.check(rows, Action.DELETE, change.name)
            if digest not in self._repository(change.name).blobs:
                raise BlobUnknown(f"there is no blob {digest} in {change.name}")
            self._unlink(change.name.text, digest, change.author.actor)

    def _unlink(self, name: str, digest: Digest, actor: str) -> None:
        del self._repositories[name].blobs[digest]
        self._record("blob.unlink", actor, name, digest)
        if not self._is_held(digest):
            self._unheld[digest] = len(self.recorded)

    def delete_manifest(self, change: ChangeRequest, digest: Digest) -> tuple[str, ...]:
        with self._locked() as rows:
            change.permits.check(rows, Action.DELETE, change.name)
            repository = self._repository(change.name)
            if digest not in repository.manifests:
                raise ManifestUnknown(f"there is no manifest {digest} in {change.name}")
            change.conditions.check_change(digest)
            tags = tuple(repository.tags_of(digest))
            actor, name = change.author.actor, change.name.text
            for tag in tags:
                self._end_tag(change, tag)
            self._record("manifest.delete", actor, name, digest)
            kept = repository.manifests.pop(digest)
            repository.trash[digest] = _DeletedManifest(kept, tags, change.author.now)
            for blob in references(kept.manifest):
                if blob in repository.blobs and not repository.refers_to(blob):
                    repository.blobs[blob] = change.author.now
            return tags

    def delete_tag(self, change: ChangeRequest, tag: Tag) -> None:
        with self._locked() as rows:
            change.permits.check(rows, Action.DELETE, change.name)
            tags = self._repository(change.name).tags
            if tag.text not in tags:
                raise ManifestUnknown(f"there is no tag {tag} in {change.name}")
            change.conditions.check_change(tags[tag.text])
            self._end_tag(change, tag.text)

    # ---- the trash -----------------------------------------------------------------------------
    def restore_manifest(self, change: ChangeRequest, digest: Digest) -> RestoredManifest:
        with self._locked() as rows:
            repository = self._restoring(rows, change)
            deleted = self._enter(rows, change, digest)
            free = tuple(tag for tag in deleted.tags if tag not in repository.tags)
            for tag in free:
                self._set_tag(change, tag, digest)
            taken = tuple(tag for tag in deleted.tags if tag not in free)
            return RestoredManifest(digest, free, taken, len(references(deleted.kept.manifest)))

    def restore_tag(self, change: ChangeRequest, tag: Tag, digest: Digest | None = None) -> Digest:
        with self._locked() as rows:
            repository = self._restoring(rows, change)
            if digest is None:
                states = [past for past in repository.history if past.tag == tag.text]
                if not states or not _covers(change.permits.claim(rows, change.name), states[-1]):
                    raise ManifestUnknown(f"nothing is known of an earlier {tag}")
                digest = states[-1].digest
            if digest not in repository.manifests:
                self._enter(rows, change, digest)
            self._set_tag(change, tag.text, digest)
            return digest

    def _restoring(self, rows: ReadTransaction, change: ChangeRequest) -> _Repository:
        change.permits.check(rows, Action.PUSH, change.name)
        if change.name.text not in self._repositories:
            raise RepositoryUnknown(f"there is no repository {change.name}")
        return self._repositories[change.name.text]

    def _enter(
        self, rows: ReadTransaction, change: ChangeRequest, digest: Digest
    ) -> _DeletedManifest:
        """Bring a manifest back, without its tags."""
        repository = self._repositories[change.name.text]
        deleted = repository.trash.get(digest)
        if deleted is None or not _covers(change.permits.claim(rows, change.name), deleted):
            kind = Conflict if digest in repository.manifests else ManifestUnknown
            raise kind(f"there is no {digest} in the trash of {change.name}")
        needs = dict.fromkeys(deleted.kept.manifest.required_blobs())
        if missing := [str(blob) for blob in needs if blob not in repository.blobs]:
            raise ManifestBlobUnknown(tuple(missing))
        repository.manifests[digest] = repository.trash.pop(digest).kept
        self._record("manifest.put", change.author.actor, change.name.text, digest)
        return deleted

    def drop_deleted(self, before: int, limit: int) -> int:
        with self._lock:
            found: list[tuple[int, Callable[[], object]]] = []
            for one in self._repositories.values():
                found += ((d.at, partial(one.trash.pop, key)) for key, d in one.trash.items())
                found += ((past.at, partial(one.history.remove, past)) for past in one.history)
            due = sorted((each for each in found if each[0] < before), key=itemgetter(0))[:limit]
            for _, drop in due:
                drop()
            return len(due)

    # ---- pages ---------------------------------------------------------------------------------
    def tags(self, permits: Permits, name: RepositoryName, count: int, last: str = "") -> Page[str]:
        with self._locked() as rows:
            permits.check(rows, Action.PULL, name)
            repository = self._repository(name)
            if not repository.holds_something():
                raise RepositoryUnknown(f"there is no repository {name}")
            return _page(repository.tags, count, last)

    def referrers(
        self,
        permits: Permits,
        name: RepositoryName,
        subject: Digest,
        artifact_type: str | None = None,
        last: Digest | None = None,
    ) -> ReferrersPage:
        """Return all referrers as one page."""
        with self._locked() as rows:
            permits.check(rows, Action.PULL, name)
            after = b"" if last is None else last.key()
            found = sorted(
                (digest.key(), referrer_descriptor(kept.manifest, digest, len(kept.body)))
                for digest, kept in self._repository(name).manifests.items()
                if kept.manifest.subject is not None
                and kept.manifest.subject.digest == subject
                and artifact_type in (None, kept.manifest.artifact_type)
            )
            return ReferrersPage([one for key, one in found if key > after], None)

    def catalog(self, permits: Permits, count: int, last: str = "") -> Page[str]:
        with self._locked() as rows:
            held = (name for name, one in self._repositories.items() if one.holds_something())
            seen = (n for n in held if permits.may(rows, Action.PULL, RepositoryName(n)))
            return _page(seen, count, last)

    # ---- housekeeping --------------------------------------------------------------------------
    def drop_unheld(self, limit: int) -> int:
        with self._lock:
            due = list(self._due(self._clock() - self._grace_seconds))[:limit]
            for name, digest in due:
                self._unlink(name, digest, "system")
            unheld = dict(self._unheld)
        done = 0
        for digest, change in unheld.items():
            if done < limit and self._blobs.release([digest], self.are_held):
                done += 1
                with self._lock:
                    # Since the release looked, a holder may have come and gone again.
                    if self._unheld.get(digest) == change:
                        del self._unheld[digest]
        return len(due) + done

    def _due(self, before: int) -> Iterator[tuple[str, Digest]]:
        for name, repository in self._repositories.items():
            for digest, since in repository.blobs.items():
                if since <= before and not repository.keeps(digest):
                    yield name, digest

    def are_held(self, contents: Sequence[Sequence[Digest]]) -> list[bool]:
        with self._lock:
            return [any(map(self._is_held, names)) for names in contents]

    def _is_held(self, digest: Digest) -> bool:
        return any(digest in repository.blobs for repository in self._repositories.values())

    # ---- the state -----------------------------------------------------------------------------
    @contextmanager
    def _locked(self) -> Iterator[ReadTransaction]:
        """Lock the state; yields an index for permits."""
        with self._lock, self._no_rows.read() as rows:
            yield rows

    def _repository(self, name: RepositoryName) -> _Repository:
        """Return the repository, or an empty one that is not stored."""
        return self._repositories.get(name.text, _Repository())

    def _ensure_repository(self, actor: str, name: str) -> _Repository:
        """Return the repository, which is created if it is missing."""
        if name not in self._repositories:
            self._record("repository.create", actor, name, "")
        return self._repositories.setdefault(name, _Repository())

    def _record(self, kind: str, actor: str, name: str, subject: Digest | Tag | str) -> None:
        self.recorded.append((kind, actor, name, str(subject)))


def _typed(repository: _Repository, push: Push) -> Manifest:
    """Return the manifest with the type that it is stored under. Raises `ManifestInvalid`."""
    manifest = push.manifest
    if push.digest not in repository.manifests:
        return manifest
    old = repository.manifests[push.digest].manifest.media_type
    if manifest.is_type_guessed and KINDS.get(old) == manifest.kind:
        return replace(manifest, media_type=old)
    names = set(repository.tags_of(push.digest))
    are_others = not names or not names <= {tag.text for tag in push.tags}
    if manifest.media_type != old and (are_others or repository.refers_to(push.digest)):
        raise ManifestInvalid(f"{push.digest} is in {push.name} as {old}")
    return manifest


def _covers(claim: Claim, one: _DeletedManifest | _EarlierTag) -> bool:
    """There are no accounts here, so all repositories are the registry's own."""
    return claim.covers(REGISTRY, one.at)


def _page(names: Iterable[str], count: int, last: str) -> Page[str]:
    return cut(sorted(name for name in names if name > last), count)


class LaterHoldings:
    """Holdings that put off every answer. `inner` does all else. Notes the threads that waited."""

    def __init__(self, inner: Holdings) -> None:
        self.put_off = 0
        self.waited: set[int] = set()
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def resolve(self, questions: Sequence[Lookup]) -> None:
        self.put_off += len(questions)

    def resolve_waiting(self, questions: Sequence[Lookup]) -> list[LookupResult]:
        self.waited.add(threading.get_ident())
        return self._inner.resolve_waiting(questions)

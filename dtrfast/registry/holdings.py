"""The holdings seam: the blobs, manifests and tags that each repository holds, as use cases.

It has the use cases of the distribution API. An implementation owns the repositories, links,
manifests, tags, referrers and records of changes. `holdings_index` implements it over the index. A
relational implementation may answer many lookups in one round trip, keep links with foreign keys,
and answer later. All methods block, and are safe to call from many threads and processes. The
contract suites are `tests/registry/holdings_contract.py`, `trash_contract.py` and
`unheld_contract.py`.

Each method but `drop_deleted` and `drop_unheld` is one transaction:

* Other calls see all of it or nothing. A call that raises has changed nothing.
* Concurrent calls have the outcome of one call after the other. So of many puts under one
  condition, one succeeds.
* When a call returns, its change survives a power cut, and every later call sees it, in any
  process.
* The transaction records its changes in the change log, which is all that a repair has, and counts
  them (`statistics`).
* If it creates a repository, it also ends the verdicts on that name (`index.epoch`). The new
  repository is public if `Permits.makes_public` returns True.
* Deleted manifests, deleted tags and earlier states of tags are kept with their author, their time
  and the account that owns the repository (`ownership`). Rights on the trash depend on that
  account.

Each use case gets the permits of its caller, checks them in the transaction that it answers from,
and raises what `Permits.check` does. Permits read the index, so an implementation without an index
opens a snapshot for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from dtrfast.errors import DtrfastError
from dtrfast.oci.conditions import UNCONDITIONAL, Conditions
from dtrfast.oci.digests import Digest, Reference
from dtrfast.oci.manifests import Manifest
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry.pages import Page
from dtrfast.registry.permits import Action, Permits
from dtrfast.registry.writing import Author
from dtrfast.store.blobs import BlobStat, Placement


class Lookup(msgspec.Struct, frozen=True, gc=False):
    """A request for a manifest by tag or digest, or with `is_blob` for a blob by digest. If the
    permits do not allow `action`, the result is the exception of the check.
    """

    permits: Permits
    name: RepositoryName
    reference: Reference
    is_blob: bool = False
    action: Action = Action.PULL


class FoundManifest(msgspec.Struct, frozen=True, gc=False):
    """A manifest that a lookup found, with the digest that it is stored under."""

    digest: Digest
    media_type: str
    body: bytes


class FoundBlob(msgspec.Struct, frozen=True, gc=False):
    """A blob that the repository holds. `is_due` is True if no manifest refers to it and a part of
    its grace has passed: then a request for it calls `renew`.
    """

    digest: Digest
    is_due: bool


LookupResult = FoundManifest | FoundBlob | DtrfastError


def manifest_in(results: Sequence[LookupResult]) -> FoundManifest:
    """Return the only result, of a lookup for a manifest. Raises it if it is an exception."""
    result = results[0]
    if isinstance(result, FoundManifest):
        return result
    assert isinstance(result, DtrfastError), "the lookup was for a blob"
    raise result


def blob_in(results: Sequence[LookupResult]) -> FoundBlob:
    """Return the only result, of a lookup for a blob. Raises it if it is an exception."""
    result = results[0]
    if isinstance(result, FoundBlob):
        return result
    assert isinstance(result, DtrfastError), "the lookup was for a manifest"
    raise result


@dataclass(frozen=True, slots=True)
class Push:
    """A request to store a manifest. `reference` is that of the request: conditions apply to the
    manifest that it names so far. `tags` are all tags that the manifest gets, including that of the
    request.
    """

    permits: Permits
    name: RepositoryName
    reference: Reference
    digest: Digest
    tags: tuple[Tag, ...]
    manifest: Manifest
    body: bytes
    author: Author
    conditions: Conditions = UNCONDITIONAL


@dataclass(frozen=True, slots=True)
class PushResult:
    """The result of a push: the media type that the manifest has from now on."""

    media_type: str


@dataclass(frozen=True, slots=True)
class MissingContent:
    """The result of a push that wrote nothing: the digests that the manifest needs and the
    repository does not hold, once each, in the order of the manifest.
    """

    digests: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class ReferrersPage:
    """A page of referrers, as descriptors in JSON. The next page begins after `next_after`; None at
    the end of the list.
    """

    descriptors: list[bytes]
    next_after: Digest | None


@dataclass(frozen=True, slots=True)
class RestoredManifest:
    """A manifest that came out of the trash, with `tags`. `tags_taken` exist again and were left as
    they are. `parts` is the number of blobs and manifests that the manifest names.
    """

    digest: Digest
    tags: tuple[str, ...]
    tags_taken: tuple[str, ...]
    parts: int


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """A request to change a repository. The change log names the author, and a grace starts at the
    author's time. `conditions` apply to the content that a deletion removes.
    """

    permits: Permits
    name: RepositoryName
    author: Author
    conditions: Conditions = UNCONDITIONAL


class Holdings(Protocol):
    """The blobs, manifests and tags of all repositories."""

    def resolve(self, lookups: Sequence[Lookup]) -> list[LookupResult] | None:
        """Return the results in the order of the lookups, all from one moment after the call began.

        A result is a manifest, a blob, or the exception for that lookup: `ManifestUnknown`,
        `BlobUnknown`, or one of `Permits.check`. None: an answer takes longer, so call
        `resolve_waiting`.
        """
        ...

    def resolve_waiting(self, lookups: Sequence[Lookup]) -> list[LookupResult]:
        """Return the same results, and wait for them if necessary."""
        ...

    def check(self, permits: Permits, action: Action, name: RepositoryName) -> None:
        """Return if the caller may do this. Raises what `Permits.check` does."""
        ...

    def renew(self, name: RepositoryName, digest: Digest) -> None:
        """Restart the grace of a blob, because a client requested it. Does nothing if the
        repository does not hold the blob.
        """
        ...

    def put_manifest(self, push: Push) -> PushResult | MissingContent:
        """Store a manifest with its tags, references and subject, all at once.

        Creates the repository if necessary, and takes the manifest out of its trash. The blobs that
        the manifest refers to stay until it is deleted and has left the trash.

        Raises `ManifestInvalid` if the repository serves other names of the manifest with another
        media type, and `PreconditionFailed`.
        """
        ...

    def commit_blob(self, change: ChangeRequest, placed: Placement) -> None:
        """Link placed content to the repository; creates the repository if necessary.

        When it returns, content and link survive a power cut: either the transaction of the link
        also commits `placed.pending`, or `placed.settle` returns before it. The grace of the blob
        starts; if the blob was linked already, it restarts.

        Raises `StorageFull`, `StorageFailed`; then there is no link.
        """
        ...

    def mount(self, change: ChangeRequest, stat: BlobStat, source: RepositoryName | None) -> bool:
        """Link a blob that `source` holds, and that the caller may read there, to the repository.
        Without a `source`, any repository counts, but only some holders are looked at. Creates the
        target repository if necessary.

        Returns False, and writes nothing, if there is no such blob. After True, a release that asks
        later keeps the content. A repeated call restarts the grace and changes nothing else.
        """
        ...

    def unlink(self, change: ChangeRequest, digest: Digest) -> None:
        """Remove the blob from the repository, even if manifests refer to it. `drop_unheld` frees
        the content once no repository holds it. Raises `BlobUnknown`.
        """
        ...

    def delete_manifest(self, change: ChangeRequest, digest: Digest) -> tuple[str, ...]:
        """Put a manifest and its tags into the trash. Returns the tags in order.

        The grace of blobs that no other manifest refers to starts. The trash keeps them even after
        it. Raises `ManifestUnknown`, `PreconditionFailed`.
        """
        ...

    def delete_tag(self, change: ChangeRequest, tag: Tag) -> None:
        """Remove a tag; its manifest stays. Raises `ManifestUnknown`, `PreconditionFailed`."""
        ...

    def restore_manifest(self, change: ChangeRequest, digest: Digest) -> RestoredManifest:
        """Restore a manifest from the trash, with those of its tags that do not exist again. Both
        are then as after a push.

        Raises `ManifestUnknown` if the manifest is not in the caller's part of the trash
        (`Permits.claim`), and `Conflict` if it is in the repository. Raises `ManifestBlobUnknown`
        if the repository no longer holds a blob that it needs, and `RepositoryUnknown`.
        """
        ...

    def restore_tag(self, change: ChangeRequest, tag: Tag, digest: Digest | None = None) -> Digest:
        """Point a tag at the manifest of its last state, or at `digest`. Returns that digest. If
        the manifest is in the trash, it comes out without its other tags.

        Raises what `restore_manifest` does, except `Conflict`. Raises `ManifestUnknown` also if the
        last state of the tag is not in the caller's part of the trash.
        """
        ...

    def tags(self, permits: Permits, name: RepositoryName, count: int, last: str = "") -> Page[str]:
        """Return up to `count` tags greater than `last`, in order. Raises `RepositoryUnknown`, also
        for a repository that holds nothing.
        """
        ...

    def referrers(
        self,
        permits: Permits,
        name: RepositoryName,
        subject: Digest,
        artifact_type: str | None = None,
        last: Digest | None = None,
    ) -> ReferrersPage:
        """Return the manifests with this subject after `last`, in the order of their digests' keys.
        An unknown repository or subject has none. A page of a filtered list may be short or empty
        without being the last.
        """
        ...

    def catalog(self, permits: Permits, count: int, last: str = "") -> Page[str]:
        """Return up to `count` names greater than `last`, in order: those of repositories that hold
        something and that the caller may pull from.
        """
        ...

    def drop_deleted(self, before: int, limit: int) -> int:
        """Remove what was deleted before a time, in seconds since the epoch, from the trash for
        good, the oldest first: manifests, earlier states of tags, repositories.

        Returns the number of things: up to `limit`, fewer if they are large, and 0 if there are
        none. Blobs that only such a manifest kept are left to `drop_unheld`, which unlinks them
        when their grace has passed, too.
        """
        ...

    def drop_unheld(self, limit: int) -> int:
        """Unlink blobs whose grace has passed, and have the store free content that no repository
        holds, up to `limit` of each. Returns the number of cases that it settled, including those
        in which the blob stays.

        0: nothing is due except content that is claimed or rows that cannot be read. The next call
        tries these again; they do not hold up others.
        """
        ...

    def are_held(self, contents: Sequence[Sequence[Digest]]) -> list[bool]:
        """See `dtrfast.store.blobs.IsHeld`."""
        ...

"""The holdings seam: which repository holds what, as use cases and not as rows.

The use cases of the distribution API stand behind it, with the repositories, links, manifests,
tags, referrers and records of changes that they make. One implementation is over the index
(`holdings_index`); a relational one may answer many questions in one round trip, keep links with
foreign keys, and answer later. All methods block and are safe to call from many threads and
processes. The contract suites are `tests/registry/holdings_contract.py`, `trash_contract.py` and
`unheld_contract.py`.

Each but `drop_deleted` and `drop_unheld` is one step: other calls see all of it or nothing, and a
call that raises has changed nothing. Where steps meet, their outcome is that of one after the
other; so of many puts under one condition one is done. When a call returns, its change survives a
power cut, and each call that begins later sees it, in any process. The same step records its
changes for the change log, which is all that a repair has, counts them (`statistics`), and ends the
verdicts on the name of a repository that it makes (`index.epoch`). Such a repository is public if
`Permits.makes_public`. Deleted manifests and tags, and earlier states of tags, are kept with their
author, their time and the account that has the repository (`ownership`): rights on the trash follow
that.

Each use case has the permits of its caller, asks them at the moment that it answers for, and raises
what `Permits.check` does. Permits read the index, so an implementation beside it opens a snapshot
for them.
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
from dtrfast.store.blobs import BlobStat, Placed


class Question(msgspec.Struct, frozen=True, gc=False):
    """A manifest by tag or digest, or with `is_blob` a blob by digest. `action`: why the caller
    asks; the answer is the refusal where its permits do not allow that.
    """

    permits: Permits
    name: RepositoryName
    reference: Reference
    is_blob: bool = False
    action: Action = Action.PULL


class FoundManifest(msgspec.Struct, frozen=True, gc=False):
    """A manifest, and the digest that the caller knows it by."""

    digest: Digest
    media_type: str
    body: bytes


class FoundBlob(msgspec.Struct, frozen=True, gc=False):
    """A blob that the repository holds. `is_due`: no manifest refers to it and a part of its grace
    has passed, so a request for it calls `renew`.
    """

    digest: Digest
    is_due: bool


Answer = FoundManifest | FoundBlob | DtrfastError


def manifest_in(answers: Sequence[Answer]) -> FoundManifest:
    """The only answer, to a question about a manifest. Raises it if it is an exception."""
    answer = answers[0]
    if isinstance(answer, FoundManifest):
        return answer
    assert isinstance(answer, DtrfastError), "it was a question about a blob"
    raise answer


def blob_in(answers: Sequence[Answer]) -> FoundBlob:
    """The only answer, to a question about a blob. Raises it if it is an exception."""
    answer = answers[0]
    if isinstance(answer, FoundBlob):
        return answer
    assert isinstance(answer, DtrfastError), "it was a question about a manifest"
    raise answer


@dataclass(frozen=True, slots=True)
class Push:
    """A manifest that is put. `reference` is the one of the request: conditions are about what it
    names so far. `tags` are all that the manifest gets, that of the request among them.
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
class Stored:
    """A manifest was put; the media type that it has from now on."""

    media_type: str


@dataclass(frozen=True, slots=True)
class Missing:
    """Content that a manifest needs and the repository does not hold: once each, in the order of
    the manifest. Nothing was written.
    """

    digests: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class ReferrersPage:
    """Descriptors as JSON, and after which referrer the list goes on; None at its end."""

    descriptors: list[bytes]
    next_after: Digest | None


@dataclass(frozen=True, slots=True)
class Restored:
    """A manifest that is back, the tags that came with it, and those that point elsewhere by now.
    `parts`: the number of blobs and manifests that it names.
    """

    digest: Digest
    tags: tuple[str, ...]
    tags_taken: tuple[str, ...]
    parts: int


@dataclass(frozen=True, slots=True)
class Change:
    """The repository that a caller changes, and the author that the change log names, with the
    time at which a grace starts. `conditions` are about the content that goes.
    """

    permits: Permits
    name: RepositoryName
    author: Author
    conditions: Conditions = UNCONDITIONAL


class Holdings(Protocol):
    """Which repository holds what."""

    def resolve(self, questions: Sequence[Question]) -> list[Answer] | None:
        """The answers, as of one moment after the call began, in the order of the questions: what
        is found, or the exception that a request for it alone gets (`ManifestUnknown`,
        `BlobUnknown`, and what `Permits.check` raises). None: the answer comes later, from
        `resolve_waiting`.
        """
        ...

    def resolve_waiting(self, questions: Sequence[Question]) -> list[Answer]:
        """The same, however long it takes."""
        ...

    def check(self, permits: Permits, action: Action, name: RepositoryName) -> None:
        """Return if the caller may do that there; raises what `Permits.check` does."""
        ...

    def renew(self, name: RepositoryName, digest: Digest) -> None:
        """Start the grace of a blob anew: it has been asked for. No change where the repository
        does not hold it.
        """
        ...

    def put_manifest(self, push: Push) -> Stored | Missing:
        """Store a manifest with its tags, references and subject, all at once. Makes the
        repository, and takes the manifest out of its trash. From then on nothing drops the blobs
        that it refers to, until it is deleted and has left the trash.

        Raises `ManifestInvalid` where other names of it are served with another type, and
        `PreconditionFailed`.
        """
        ...

    def commit_blob(self, change: Change, placed: Placed) -> None:
        """Link placed content; makes the repository. When it returns, content and link survive a
        power cut: `placed.pending` goes into the commit of the link, or `placed.settle` comes
        before it. The grace of the blob starts, anew if it was linked already. Raises
        `StorageFull`, `StorageFailed`; then there is no link.
        """
        ...

    def mount(self, change: Change, stat: BlobStat, source: RepositoryName | None) -> bool:
        """Give the repository the blob that `source` has; when it is None, that any repository has
        which the caller may read (some of many are looked at). Makes the repository.

        False, and nothing is written, where there is no such blob. Idempotent: the grace starts
        anew. True: no release that asks later frees the content.
        """
        ...

    def unlink(self, change: Change, digest: Digest) -> None:
        """Take the blob from the repository, also where manifests refer to it. Content that has
        lost its last holder is for `drop_unheld` to free. Raises `BlobUnknown`.
        """
        ...

    def delete_manifest(self, change: Change, digest: Digest) -> tuple[str, ...]:
        """Put a manifest into the trash with its tags, and name those, in order. The grace of
        blobs that no other manifest refers to starts; the trash keeps them beyond it. Raises
        `ManifestUnknown`, `PreconditionFailed`.
        """
        ...

    def delete_tag(self, change: Change, tag: Tag) -> None:
        """Remove a tag; its manifest stays. Raises `ManifestUnknown`, `PreconditionFailed`."""
        ...

    def restore_manifest(self, change: Change, digest: Digest) -> Restored:
        """Bring a manifest back from the trash, with those of its tags that are free; both are as
        if they were put.

        Raises `ManifestUnknown` where it is not in the trash, or not in the caller's part of it
        (`Permits.claim`); `Conflict` where it is in the repository; `ManifestBlobUnknown` where the
        repository has lost a blob that it needs; `RepositoryUnknown`.
        """
        ...

    def restore_tag(self, change: Change, tag: Tag, digest: Digest | None = None) -> Digest:
        """Point a tag at what it pointed at before, or at `digest`; returns which that is. Its
        manifest comes out of the trash if need be, without other tags.

        Raises what `restore_manifest` does, but not `Conflict`; `ManifestUnknown` also where the
        last state of the tag is not the caller's, or has left the trash.
        """
        ...

    def tags(self, permits: Permits, name: RepositoryName, count: int, last: str = "") -> Page[str]:
        """Up to `count` tags greater than `last`. Raises `RepositoryUnknown`, also for a repository
        that holds nothing.
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
        """The manifests with this subject after `last`, in the order of their digests' keys. An
        unknown repository or subject has none. A page of a filtered list may be short, or empty,
        and not be the last.
        """
        ...

    def catalog(self, permits: Permits, count: int, last: str = "") -> Page[str]:
        """Up to `count` names greater than `last` of the repositories that hold something and that
        the caller may pull from.
        """
        ...

    def drop_deleted(self, before: int, limit: int) -> int:
        """Let manifests, earlier states of tags and repositories that were deleted before that time
        leave the trash for good, the oldest first; returns how many: up to `limit`, and fewer where
        they are large. 0: there are none.

        A blob that such a manifest alone kept is for `drop_unheld`, once its grace has passed too.
        """
        ...

    def drop_unheld(self, limit: int) -> int:
        """Unlink blobs whose grace has passed, and have the store free content that no repository
        holds, up to `limit` of each; returns how much is settled, be it that it stays.

        0: nothing is due, but for what is claimed or cannot be read: it is tried again next time,
        and keeps back nothing else.
        """
        ...

    def are_held(self, contents: Sequence[Sequence[Digest]]) -> list[bool]:
        """See `dtrfast.store.blobs.IsHeld`."""
        ...

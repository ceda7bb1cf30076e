"""The world of a contract test of `Holdings`: a client's steps over index and store."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from dtrfast.errors import BlobUnknown
from dtrfast.oci.conditions import UNCONDITIONAL, Conditions
from dtrfast.oci.digests import Algorithm, Digest, Reference
from dtrfast.oci.manifests import parse_manifest
from dtrfast.oci.media_types import OCI_MANIFEST
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
    manifest_in,
)
from dtrfast.registry.manifests import Rules
from dtrfast.registry.permits import EVERYBODY, Permits
from dtrfast.registry.writing import Author
from dtrfast.store.blobs import BlobStat, BlobStore, Extent, Placement
from tests.fakes.client import image_manifest
from tests.fakes.clock import Clock

NAME = RepositoryName("team/app")
OTHER = RepositoryName("other")
# The grace of the holdings under test.
GRACE_SECONDS = 86_400
RULES = Rules(require_blobs=True, require_children=True)

# The kind, actor and repository of a change, and the digest or tag that changed.
Recorded = tuple[str, str, str, str]


@dataclass(frozen=True)
class World:
    """The holdings under test, with their store and clock.

    `recorded` returns the changes so far, oldest first, without bodies of blobs: the store records
    those.
    """

    holdings: Holdings
    blobs: BlobStore
    clock: Clock
    recorded: Callable[[], list[Recorded]]

    # ---- a client's steps ----------------------------------------------------------------------
    def change(
        self,
        name: RepositoryName = NAME,
        *,
        permits: Permits = EVERYBODY,
        actor: str = "alice",
        conditions: Conditions = UNCONDITIONAL,
    ) -> ChangeRequest:
        return ChangeRequest(permits, name, Author(actor, self.clock()), conditions)

    def place(self, content: bytes, algorithm: Algorithm = "sha256") -> Placement:
        """Do the first step of a push. The caller closes the result."""
        upload = self.blobs.begin("a label")
        upload.append(content)
        return self.blobs.commit(upload, Digest.of_bytes(content, algorithm))

    def push(
        self, content: bytes, name: RepositoryName = NAME, algorithm: Algorithm = "sha256"
    ) -> Digest:
        with self.place(content, algorithm) as placed:
            self.holdings.commit_blob(self.change(name), placed)
            placed.finish()
        return placed.stat.digest

    def put(
        self,
        body: bytes,
        *tags: str,
        name: RepositoryName = NAME,
        media_type: str | None = OCI_MANIFEST,
        permits: Permits = EVERYBODY,
        conditions: Conditions = UNCONDITIONAL,
    ) -> PushResult | MissingContent:
        """PushedManifest a manifest under some tags, or under its digest alone."""
        digest, names = Digest.of_bytes(body), tuple(map(Tag, tags))
        push = Push(
            permits,
            name,
            names[0] if names else digest,
            digest,
            names,
            parse_manifest(body, media_type),
            body,
            Author("alice", self.clock()),
            conditions,
        )
        return self.holdings.put_manifest(push)

    def push_image(
        self, *tags: str, layer: bytes = b"layer", name: RepositoryName = NAME
    ) -> Digest:
        for content in (b"{}", layer):
            self.push(content, name)
        body = image_manifest(layer)
        assert self.put(body, *tags, name=name) == PushResult(OCI_MANIFEST)
        return Digest.of_bytes(body)

    def mount(self, digest: Digest, source: RepositoryName | None, name: RepositoryName) -> bool:
        """Give `name` the blob. False if the store or the sources do not have it."""
        try:
            stat = self.blobs.stat(digest)
        except BlobUnknown:
            return False
        return self.holdings.mount(self.change(name), stat, source)

    def lose(self, digest: Digest, name: RepositoryName = NAME) -> None:
        """Remove the blob from the repository."""
        self.holdings.unlink(self.change(name), digest)

    # ---- reads ---------------------------------------------------------------------------------
    def ask(self, question: Lookup) -> LookupResult:
        (answer,) = self.holdings.resolve_waiting((question,))
        return answer

    def find(self, reference: Reference, name: RepositoryName = NAME) -> FoundManifest:
        return manifest_in([self.ask(Lookup(EVERYBODY, name, reference))])

    def tagged(self, tag: str, name: RepositoryName = NAME) -> Digest:
        return self.find(Tag(tag), name).digest

    def holds(self, digest: Digest, name: RepositoryName = NAME) -> bool:
        answer = self.ask(Lookup(EVERYBODY, name, digest, is_blob=True))
        if isinstance(answer, FoundBlob):
            assert answer.digest == digest
            return True
        assert isinstance(answer, BlobUnknown)
        return False

    def is_due(self, digest: Digest, name: RepositoryName = NAME) -> bool:
        answer = self.ask(Lookup(EVERYBODY, name, digest, is_blob=True))
        assert isinstance(answer, FoundBlob)
        return answer.is_due

    def names(self, permits: Permits = EVERYBODY) -> list[str]:
        return self.holdings.catalog(permits, 100).entries

    def link_changes(self) -> list[Recorded]:
        """Return the changes of links."""
        return [one for one in self.recorded() if one[0].startswith("blob.")]

    def content(self, digest: Digest) -> bytes | None:
        """Return the content in the store; None if it was freed."""
        try:
            with self.blobs.open_range(digest) as reader:
                return b"".join(
                    os.pread(one.descriptor, one.length, one.offset)
                    if isinstance(one, Extent)
                    else one
                    for one in reader
                )
        except BlobUnknown:
            return None

    def stat(self, digest: Digest) -> BlobStat:
        return self.blobs.stat(digest)

    def tidy(self) -> int:
        """Drop links until none is due; returns the sum of the counts."""
        total = 0
        while count := self.holdings.drop_unheld(100):
            total += count
        return total


MakeWorld = Callable[[Rules], World]

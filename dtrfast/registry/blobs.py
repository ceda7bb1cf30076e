"""Blobs and uploads of repositories, over the store and the holdings.

A push creates its repository only when an upload has the digest that the client gave. So a failed
push leaves no repository behind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from dtrfast.errors import BlobUnknown, RangeInvalid, UploadBusy, UploadUnknown
from dtrfast.oci.digests import DEFAULT_ALGORITHM, Algorithm, Digest
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import bodies
from dtrfast.registry.bodies import AnnouncedBody, HeldUpload
from dtrfast.registry.holdings import ChangeRequest, FoundBlob, Holdings, Lookup, blob_in
from dtrfast.registry.permits import Action, Permits
from dtrfast.registry.writing import Author
from dtrfast.store.blobs import (
    BlobReader,
    BlobStat,
    BlobStore,
    LastBody,
    OpenBound,
    Peek,
    Upload,
)

# All open uploads of a user together may be this many times the uploads of one repository. Without
# this bound, a user could open uploads under any number of names, which need not exist yet.
_REPOSITORIES_PUSHED = 10

_match_id = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}").fullmatch


@dataclass(frozen=True, slots=True)
class Blobs:
    """The blobs of a registry's repositories, for one caller."""

    store: BlobStore
    holdings: Holdings
    permits: Permits

    def stat(self, name: RepositoryName, digest: Digest) -> BlobStat:
        """Return a blob's digest and size. Restarts its grace if that is due (`FoundBlob.is_due`).
        Raises `BlobUnknown`.
        """
        found = self._find(name, digest)
        stat = self.store.stat(digest)
        if found.is_due:
            self.holdings.renew(name, digest)
        return stat

    def peek(self, name: RepositoryName, digest: Digest) -> Peek | None:
        """Return the part of a blob that is known at once. Returns None if the answer takes longer
        or the grace is due: then call `stat`. Raises `BlobUnknown`.
        """
        results = self.holdings.resolve((Lookup(self.permits, name, digest, True),))
        if results is None or blob_in(results).is_due:
            return None
        return self.store.peek(digest)

    def open_range(
        self, name: RepositoryName, digest: Digest, offset: int = 0, length: int | None = None
    ) -> BlobReader:
        """See `BlobStore.open_range`. Raises `BlobUnknown` also for a blob that the repository does
        not hold.
        """
        self._find(name, digest)
        return self.store.open_range(digest, offset, length)

    def delete(self, name: RepositoryName, digest: Digest, author: Author) -> None:
        """Remove the blob from this repository, even if manifests refer to it. Raises
        `BlobUnknown`.
        """
        self.holdings.unlink(ChangeRequest(self.permits, name, author), digest)

    def mount(
        self, name: RepositoryName, digest: Digest, source: RepositoryName | None, author: Author
    ) -> BlobStat | None:
        """Link a blob that `source` holds to the repository; without `source`, one that any
        repository holds. Returns None if there is no such blob that the caller may read: then the
        client has to push it.
        """
        self.holdings.check(self.permits, Action.PUSH, name)
        try:
            stat = self.store.stat(digest)
        except BlobUnknown:
            return None
        change = ChangeRequest(self.permits, name, author)
        return stat if self.holdings.mount(change, stat, source) else None

    def _find(self, name: RepositoryName, digest: Digest) -> FoundBlob:
        lookup = Lookup(self.permits, name, digest, True)
        return blob_in(self.holdings.resolve_waiting((lookup,)))


@dataclass(frozen=True, slots=True)
class Uploads:
    """Uploads to a registry's repositories. An upload belongs to the caller who began it. All
    methods raise what `Permits.check` does.
    """

    store: BlobStore
    holdings: Holdings
    permits: Permits
    open_max: int | None = None

    def begin(self, name: RepositoryName, algorithm: Algorithm = DEFAULT_ALGORITHM) -> Upload:
        """Begin an upload, which the caller then holds. Raises `UploadsTooMany`."""
        label = self._label(name)
        bound = None
        if self.open_max is not None:
            bound = OpenBound(
                self.permits.upload_owner, self.open_max, self.open_max * _REPOSITORIES_PUSHED
            )
        return self.store.begin(label, algorithm=algorithm, bound=bound)

    def resume(self, name: RepositoryName, upload_id: str) -> Upload:
        """Return the upload, which the caller then holds. Raises `UploadUnknown`, `UploadBusy`."""
        return self.store.resume(self._label(name), _checked_id(upload_id))

    def hold(
        self,
        name: RepositoryName,
        upload_id: str,
        announced: AnnouncedBody,
        *,
        seen: LastBody | None = None,
        wait_seconds: float = 0,
    ) -> HeldUpload | LastBody:
        """Hold the upload for a body that is announced.

        If another request still holds the upload after `wait_seconds`, it returns the last saved
        body instead. Pass that as `seen` to the next call, which then recognizes a retry.

        Raises `UploadUnknown`, `SizeInvalid`, and `RangeInvalid` with the offset for the client.
        """
        session = self._label(name), _checked_id(upload_id)
        try:
            upload = self.store.resume(*session, wait_seconds=wait_seconds)
        except UploadBusy:
            return self.store.last_body(*session)
        try:
            body = bodies.body_range(_after(upload.last_body, seen), announced)
            is_guess = announced.is_last and announced.content_range is None
            taker = upload.begin_body(body.start, body.length, is_guess=is_guess)
        except RangeInvalid as error:
            error.offset = upload.offset
            upload.tell()
            upload.release()
            raise
        except BaseException:
            upload.release()
            raise
        return HeldUpload(taker, body.length)

    def recall(self, name: RepositoryName, upload_id: str) -> None:
        """See `BlobStore.recall`."""
        self.store.recall(self._label(name), _checked_id(upload_id))

    def recalls(self) -> int:
        """See `BlobStore.recalls`."""
        return self.store.recalls

    def offset(self, name: RepositoryName, upload_id: str) -> int:
        """Return the number of bytes received, for an answer to the client. Raises
        `UploadUnknown`.
        """
        return self.store.upload_offset(self._label(name), _checked_id(upload_id))

    def finished(self, name: RepositoryName, upload_id: str) -> Digest | None:
        """Return the digest of an upload that was finished some minutes ago. Returns None if there
        is none, or if the repository does not hold the blob: another one may have the name by now.
        """
        label = self._label(name)
        digest = self.store.finished(label, upload_id) if _match_id(upload_id) else None
        if digest is None:
            return None
        lookup = Lookup(self.permits, name, digest, True, Action.PUSH)
        try:
            return blob_in(self.holdings.resolve_waiting((lookup,))).digest
        except BlobUnknown:
            return None

    def finish(
        self, upload: Upload, name: RepositoryName, digest: Digest, author: Author
    ) -> BlobStat:
        """Make a held upload a blob of the repository. Raises `DigestInvalid`: then the upload is
        gone.
        """
        # Checked again, as the bytes may have taken an hour to arrive. If the check fails, the
        # upload stays.
        self.holdings.check(self.permits, Action.PUSH, name)
        with self.store.commit(upload, digest) as placed:
            self.holdings.commit_blob(ChangeRequest(self.permits, name, author), placed)
            placed.finish()
            return placed.stat

    def _label(self, name: RepositoryName) -> str:
        """Return the label of an upload in the store: the repository, and the owner if there is
        one. Names of repositories have no spaces, so no two pairs have one label.
        """
        self.holdings.check(self.permits, Action.PUSH, name)
        owner = self.permits.upload_owner
        return f"{name.text} {owner}" if owner else name.text


def _after(last: LastBody, seen: LastBody | None) -> LastBody:
    """Return the last body, for a request that waited for the upload. If that body came whole while
    the request waited, the request is its retry, so the body counts as open.
    """
    is_same = seen is None or (last.begin, last.offset) == (seen.begin, seen.offset)
    if is_same or last.is_open:
        return last
    return msgspec.structs.replace(last, is_open=True, is_told=False)


def _checked_id(upload_id: str) -> str:
    """Return an id that is well-formed, because the store may use ids as file names. Raises
    `UploadUnknown`.
    """
    if not _match_id(upload_id):
        raise UploadUnknown("no such upload: begin a new one")
    return upload_id

"""Blobs and uploads of repositories: the blob seam, and who holds what.

A repository is made only once an upload has the digest that the client says, so that a bad push
leaves nothing behind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from dtrfast.errors import BlobUnknown, RangeInvalid, UploadBusy, UploadUnknown
from dtrfast.oci.digests import DEFAULT_ALGORITHM, Algorithm, Digest
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import bodies
from dtrfast.registry.bodies import Announced, Held
from dtrfast.registry.holdings import Change, FoundBlob, Holdings, Question, blob_in
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

# A user who fills the uploads of so many repositories begins none in a further one: names of
# repositories that do not exist yet cost nothing.
_REPOSITORIES_PUSHED = 10

_match_id = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}").fullmatch


@dataclass(frozen=True, slots=True)
class Blobs:
    """The blobs of a registry's repositories, for one caller."""

    store: BlobStore
    holdings: Holdings
    permits: Permits

    def stat(self, name: RepositoryName, digest: Digest) -> BlobStat:
        """Raises `BlobUnknown`. A blob in its grace is renewed by this."""
        found = self._find(name, digest)
        stat = self.store.stat(digest)
        if found.is_due:
            self.holdings.renew(name, digest)
        return stat

    def peek(self, name: RepositoryName, digest: Digest) -> Peek | None:
        """The part that can be told at once; None when only `stat` can answer: it comes later, or
        the blob's grace is due to be renewed. Raises `BlobUnknown`.
        """
        answers = self.holdings.resolve((Question(self.permits, name, digest, True),))
        if answers is None or blob_in(answers).is_due:
            return None
        return self.store.peek(digest)

    def open_range(
        self, name: RepositoryName, digest: Digest, offset: int = 0, length: int | None = None
    ) -> BlobReader:
        """See `BlobStore.open_range`."""
        self._find(name, digest)
        return self.store.open_range(digest, offset, length)

    def delete(self, name: RepositoryName, digest: Digest, author: Author) -> None:
        """Take the blob from this repository, also one in use. Raises `BlobUnknown`."""
        self.holdings.unlink(Change(self.permits, name, author), digest)

    def mount(
        self, name: RepositoryName, digest: Digest, source: RepositoryName | None, author: Author
    ) -> BlobStat | None:
        """Give the repository the blob that `source` has, or any repository when it is None.

        None when there is no such blob, or none that the caller may read: then the client has to
        push it.
        """
        self.holdings.check(self.permits, Action.PUSH, name)
        try:
            stat = self.store.stat(digest)
        except BlobUnknown:
            return None
        change = Change(self.permits, name, author)
        return stat if self.holdings.mount(change, stat, source) else None

    def _find(self, name: RepositoryName, digest: Digest) -> FoundBlob:
        question = Question(self.permits, name, digest, True)
        return blob_in(self.holdings.resolve_waiting((question,)))


@dataclass(frozen=True, slots=True)
class Uploads:
    """Uploads to a registry's repositories: each belongs to whoever began it."""

    store: BlobStore
    holdings: Holdings
    permits: Permits
    open_max: int | None = None

    def begin(self, name: RepositoryName, algorithm: Algorithm = DEFAULT_ALGORITHM) -> Upload:
        """A new upload, held. Raises what `Permits.check` does, as all of these do, and
        `UploadsTooMany`.
        """
        session = self._session_name(name)
        bound = None
        if self.open_max is not None:
            bound = OpenBound(
                self.permits.upload_owner, self.open_max, self.open_max * _REPOSITORIES_PUSHED
            )
        return self.store.begin(session, algorithm=algorithm, bound=bound)

    def resume(self, name: RepositoryName, upload_id: str) -> Upload:
        """The upload, held. Raises `UploadUnknown`, `UploadBusy`."""
        return self.store.resume(self._session_name(name), _checked_id(upload_id))

    def hold(
        self,
        name: RepositoryName,
        upload_id: str,
        announced: Announced,
        *,
        seen: LastBody | None = None,
        wait_seconds: float = 0,
    ) -> Held | LastBody:
        """The upload, held, for a body that is announced; what it was last, when another request
        still has it after `wait_seconds`. Then this is `seen` for the next call, to know a retry.

        Raises `UploadUnknown`, `SizeInvalid`, and `RangeInvalid` with an offset, which the client
        is told.
        """
        session = self._session_name(name), _checked_id(upload_id)
        try:
            upload = self.store.resume(*session, wait_seconds=wait_seconds)
        except UploadBusy:
            return self.store.last_body(*session)
        try:
            place = bodies.place(_after(upload.last_body, seen), announced)
            is_guess = announced.is_last and announced.content_range is None
            taker = upload.begin_body(place.start, place.length, is_guess=is_guess)
        except RangeInvalid as error:
            error.offset = upload.offset
            upload.tell()
            upload.release()
            raise
        except BaseException:
            upload.release()
            raise
        return Held(taker, place.length)

    def recall(self, name: RepositoryName, upload_id: str) -> None:
        """See `BlobStore.recall`."""
        self.store.recall(self._session_name(name), _checked_id(upload_id))

    def recalls(self) -> int:
        """See `BlobStore.recalls`."""
        return self.store.recalls

    def offset(self, name: RepositoryName, upload_id: str) -> int:
        """Bytes received, for the client to know. Raises `UploadUnknown`."""
        return self.store.upload_offset(self._session_name(name), _checked_id(upload_id))

    def finished(self, name: RepositoryName, upload_id: str) -> Digest | None:
        """Return the digest that an upload became some minutes ago, if the repository has it:
        another one may have the name by now.
        """
        session_name = self._session_name(name)
        digest = self.store.finished(session_name, upload_id) if _match_id(upload_id) else None
        if digest is None:
            return None
        question = Question(self.permits, name, digest, True, Action.PUSH)
        try:
            return blob_in(self.holdings.resolve_waiting((question,))).digest
        except BlobUnknown:
            return None

    def finish(
        self, upload: Upload, name: RepositoryName, digest: Digest, author: Author
    ) -> BlobStat:
        """Make a held upload a blob. Raises `DigestInvalid`: then the upload is gone."""
        # Asked again, as the bytes may have taken an hour. What was sent stays to be resumed.
        self.holdings.check(self.permits, Action.PUSH, name)
        with self.store.commit(upload, digest) as placed:
            self.holdings.commit_blob(Change(self.permits, name, author), placed)
            placed.finish()
            return placed.stat

    def _session_name(self, name: RepositoryName) -> str:
        """What the store knows the upload by: no repository's name has a space in it."""
        self.holdings.check(self.permits, Action.PUSH, name)
        owner = self.permits.upload_owner
        return f"{name.text} {owner}" if owner else name.text


def _after(last: LastBody, seen: LastBody | None) -> LastBody:
    """The last body, for a request that waited for it: if that came whole, this is its retry."""
    is_same = seen is None or (last.begin, last.offset) == (seen.begin, seen.offset)
    if is_same or last.is_open:
        return last
    return msgspec.structs.replace(last, is_open=True, is_told=False)


def _checked_id(upload_id: str) -> str:
    """Only what can be an id reaches the store, which may use ids as file names."""
    if not _match_id(upload_id):
        raise UploadUnknown("no such upload: begin a new one")
    return upload_id

"""`BlobStore` on this machine's disk."""

from __future__ import annotations

from collections.abc import Iterable, Set
from functools import partial

from dtrfast.errors import Corrupt, UploadBusy, UploadUnknown
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.index.tables import (
    NUMBER_SIZE,
    RECIPES,
    UPLOADS_FINISHED,
    digest_key_size,
    number_key,
)
from dtrfast.oci.digests import Digest
from dtrfast.store import contents, links, records, upload_state, uploads, usage
from dtrfast.store.blobs import (
    BlobReader,
    BlobStat,
    LastBody,
    OpenBound,
    Peek,
    RepositoryId,
    Upload,
    Usage,
)
from dtrfast.store.commit import commit
from dtrfast.store.context import Context
from dtrfast.store.links import Link
from dtrfast.store.one_body import OneBody
from dtrfast.store.open_uploads import OpenUploads
from dtrfast.store.read_ahead import ReadAhead
from dtrfast.store.reader import LocalReader
from dtrfast.store.upload_state import UploadState
from dtrfast.store.uploads import LocalUpload

# A blob that is asked for again and again is renewed no more often than this part of its grace.
_RENEWALS_IN_GRACE = 10


class LocalBlobs:
    """See `BlobStore`. Safe from many threads; several processes may use one data directory."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._open_uploads = OpenUploads(context)

    def stat(self, repository: RepositoryId, digest: Digest) -> BlobStat:
        context = self._context
        with context.engine.read() as transaction:
            link = contents.get_link(transaction, repository, digest)
            found = contents.get(transaction, digest)
            renew = self._is_renewal_due(transaction, repository, digest, link)
        if renew:
            context.engine.write(
                partial(links.renew, repository=repository, digest=digest, now=context.clock())
            )
        return BlobStat(digest, found.content.size)

    def peek(self, repository: RepositoryId, digest: Digest) -> Peek | None:
        with self._context.engine.read() as transaction:
            link = contents.get_link(transaction, repository, digest)
            if self._is_renewal_due(transaction, repository, digest, link):
                return None
            found = contents.get(transaction, digest)
            stat = BlobStat(digest, found.content.size)
            if found.content.kind != "inline":
                return Peek(stat, None)
            row = transaction.get(RECIPES, number_key(found.number) + number_key(0))
        if row is None:
            raise Corrupt(f"the recipe of {digest} is gone: push it again")
        return Peek(stat, records.row_payload(row))

    def open_range(
        self, repository: RepositoryId, digest: Digest, offset: int = 0, length: int | None = None
    ) -> BlobReader:
        with self._context.engine.read() as transaction:
            found = contents.find_linked(transaction, repository, digest)
        stat = BlobStat(digest, found.content.size)
        if length is None:
            return LocalReader(self._context, stat, found.number, offset, stat.size - offset)
        return LocalReader(self._context, stat, found.number, offset, length, ReadAhead())

    def begin_upload(
        self, name: str, *, algorithm: str = "sha256", bound: OpenBound | None = None
    ) -> Upload:
        upload = uploads.begin(self._context, name, algorithm)
        if bound is not None:
            try:
                self._open_uploads.enter(name, upload.file_id, bound)
            except BaseException:
                upload.cancel()
                raise
        return upload

    def resume(self, name: str, upload_id: str, wait_seconds: float = 1.0) -> Upload:
        file_id = upload_state.parse_upload_id(upload_id)
        return uploads.resume(self._context, name, file_id, wait_seconds)

    def upload_offset(self, name: str, upload_id: str) -> int:
        last = self.last_body(name, upload_id)
        if not last.is_open or last.is_told:
            return last.offset
        try:
            upload = self.resume(name, upload_id, wait_seconds=0)
        except UploadBusy:
            path = self._context.layout.upload(upload_state.parse_upload_id(upload_id), "state")
            upload_state.tell(path, last.offset)
            return last.offset
        upload.tell()
        upload.release()
        return upload.offset

    def last_body(self, name: str, upload_id: str) -> LastBody:
        return self._peek_state(name, upload_state.parse_upload_id(upload_id)).last_body()

    def recall(self, name: str, upload_id: str) -> None:
        file_id = upload_state.parse_upload_id(upload_id)
        self._peek_state(name, file_id)
        upload_state.recall(self._context.layout.upload(file_id, "state"))
        self._context.recalls.change()

    @property
    def recalls(self) -> int:
        return self._context.recalls.number

    def commit(self, upload: Upload, digest: Digest, repository: RepositoryId) -> BlobStat:
        if not isinstance(upload, LocalUpload | OneBody):
            raise AssertionError("an upload is committed by the store that began it")
        return commit(self._context, upload, digest, repository)

    def finished(self, name: str, upload_id: str) -> Digest | None:
        try:
            file_id = upload_state.parse_upload_id(upload_id)
        except UploadUnknown:
            return None
        with self._context.engine.read() as transaction:
            memory = transaction.get(UPLOADS_FINISHED, file_id)
        return None if memory is None else _finished_as(memory, name)

    def link(self, repository: RepositoryId, digest: Digest, source: RepositoryId) -> BlobStat:
        change = partial(
            _mount, repository=repository, digest=digest, source=source, now=self._context.clock()
        )
        return BlobStat(digest, self._context.engine.write(change))

    def unlink(self, repository: RepositoryId, digest: Digest) -> None:
        now = self._context.clock()
        self._context.engine.write(
            partial(contents.unlink, repository=repository, digest=digest, now=now)
        )

    def repositories_of(self, digest: Digest, limit: int) -> list[RepositoryId]:
        with self._context.engine.read() as transaction:
            return links.holders(transaction, digest, limit)

    def measure(
        self,
        blobs: Iterable[Digest],
        leaving: Set[RepositoryId],
        staying: Set[Digest],
        *,
        is_alone: bool = False,
        steps_max: int | None = None,
    ) -> Usage:
        return usage.measure(
            self._context, blobs, leaving, staying, is_alone=is_alone, steps_max=steps_max
        )

    def _peek_state(self, name: str, file_id: bytes) -> UploadState:
        """As last saved, even if a request holds it."""
        state = upload_state.read_unlocked(self._context.layout.upload(file_id, "state"))
        if state is None or state.name != name or state.boot_id != self._context.boot_id:
            raise UploadUnknown("no such upload: begin a new one")
        return state

    def _is_renewal_due(
        self, transaction: ReadTransaction, repository: RepositoryId, digest: Digest, link: Link
    ) -> bool:
        """Whether to ask for this blob, which the repository holds, starts its grace anew."""
        age = self._context.clock() - link.unreferenced_since
        if age * _RENEWALS_IN_GRACE <= self._context.grace_seconds:
            return False
        return not links.is_referenced(transaction, repository, digest)


def _mount(
    transaction: WriteTransaction,
    repository: RepositoryId,
    digest: Digest,
    source: RepositoryId,
    now: int,
) -> int:
    """Link the source's blob; returns its size."""
    found = contents.find_linked(transaction, source, digest)
    contents.link(transaction, repository, digest, found.content.size, now)
    return found.content.size


def _finished_as(memory: bytes, name: str) -> Digest | None:
    """The digest in a row of UPLOADS_FINISHED, if it is of this repository."""
    end = NUMBER_SIZE + digest_key_size(memory[NUMBER_SIZE])
    return Digest.from_key(memory[NUMBER_SIZE:end]) if memory[end:].decode() == name else None

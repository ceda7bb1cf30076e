"""`BlobStore` on this machine's disk."""

from __future__ import annotations

from collections.abc import Iterable

from dtrfast.errors import Corrupt, UploadBusy, UploadUnknown
from dtrfast.index.tables import (
    RECIPES,
    UPLOADS_FINISHED,
)
from dtrfast.oci.digests import Digest
from dtrfast.store import contents, reclaim, records, upload_state, uploads, usage
from dtrfast.store.blobs import (
    BlobReader,
    BlobStat,
    IsHeld,
    LastBody,
    OpenBound,
    Peek,
    Placement,
    Upload,
    Usage,
)
from dtrfast.store.commit import commit
from dtrfast.store.content_reader import open_content
from dtrfast.store.context import StoreContext
from dtrfast.store.one_body import OneBody
from dtrfast.store.open_uploads import OpenUploads
from dtrfast.store.read_ahead import ReadAhead
from dtrfast.store.upload_state import UploadState
from dtrfast.store.uploads import LocalUpload


class LocalBlobs:
    """See `BlobStore`. Several processes may use one data directory."""

    def __init__(self, context: StoreContext) -> None:
        self._context = context
        self._open_uploads = OpenUploads(context)

    def stat(self, digest: Digest) -> BlobStat:
        with self._context.engine.read() as transaction:
            return BlobStat(digest, contents.get(transaction, digest).content.size)

    def peek(self, digest: Digest) -> Peek:
        with self._context.engine.read() as transaction:
            found = contents.get(transaction, digest)
            stat = BlobStat(digest, found.content.size)
            if found.content.kind != "inline":
                return Peek(stat, None)
            row = transaction.get(RECIPES, records.recipe_key(found.number, 0))
        if row is None:
            raise Corrupt(f"the recipe of {digest} is gone: push it again")
        return Peek(stat, records.row_payload(row))

    def sizes(self, digests: Iterable[Digest]) -> dict[Digest, int]:
        with self._context.engine.read() as transaction:
            return contents.sizes(transaction, digests)

    def open_range(self, digest: Digest, offset: int = 0, length: int | None = None) -> BlobReader:
        with self._context.engine.read() as transaction:
            found = contents.get(transaction, digest)
        stat = BlobStat(digest, found.content.size)
        if length is None:
            return open_content(self._context, stat, found, (offset, stat.size))
        bounds = offset, offset + length
        return open_content(self._context, stat, found, bounds, ReadAhead())

    def begin(
        self, label: str, *, algorithm: str = "sha256", bound: OpenBound | None = None
    ) -> Upload:
        upload = uploads.begin(self._context, label, algorithm)
        if bound is not None:
            try:
                self._open_uploads.enter(label, upload.file_id, bound)
            except BaseException:
                upload.cancel()
                raise
        return upload

    def resume(self, label: str, upload_id: str, wait_seconds: float = 1.0) -> Upload:
        file_id = upload_state.parse_upload_id(upload_id)
        return uploads.resume(self._context, label, file_id, wait_seconds)

    def upload_offset(self, label: str, upload_id: str) -> int:
        last = self.last_body(label, upload_id)
        if not last.is_open or last.is_told:
            return last.offset
        try:
            upload = self.resume(label, upload_id, wait_seconds=0)
        except UploadBusy:
            path = self._context.layout.upload(upload_state.parse_upload_id(upload_id), "state")
            upload_state.tell(path, last.offset)
            return last.offset
        upload.tell()
        upload.release()
        return upload.offset

    def last_body(self, label: str, upload_id: str) -> LastBody:
        return self._peek_state(label, upload_state.parse_upload_id(upload_id)).last_body()

    def recall(self, label: str, upload_id: str) -> None:
        file_id = upload_state.parse_upload_id(upload_id)
        self._peek_state(label, file_id)
        upload_state.recall(self._context.layout.upload(file_id, "state"))
        self._context.recalls.change()

    @property
    def recalls(self) -> int:
        return self._context.recalls.number

    def commit(self, upload: Upload, digest: Digest) -> Placement:
        if not isinstance(upload, LocalUpload | OneBody):
            raise AssertionError("an upload is committed by the store that began it")
        return commit(self._context, upload, digest)

    def finished(self, label: str, upload_id: str) -> Digest | None:
        try:
            file_id = upload_state.parse_upload_id(upload_id)
        except UploadUnknown:
            return None
        with self._context.engine.read() as transaction:
            data = transaction.get(UPLOADS_FINISHED, file_id)
        memory = None if data is None else records.FinishedUpload.decode(data)
        return None if memory is None or memory.label != label else memory.digest

    def release(self, digests: Iterable[Digest], is_held: IsHeld) -> list[Digest]:
        return reclaim.release(self._context, digests, is_held)

    def measure(
        self,
        blobs: Iterable[Digest],
        is_held: IsHeld,
        *,
        is_alone: bool = False,
        steps_max: int | None = None,
    ) -> Usage:
        return usage.measure(self._context, blobs, is_held, is_alone=is_alone, steps_max=steps_max)

    def _peek_state(self, label: str, file_id: bytes) -> UploadState:
        """Return the state as last saved, even if a request holds the upload.

        Raises `UploadUnknown`.
        """
        state = upload_state.read_unlocked(self._context.layout.upload(file_id, "state"))
        if state is None or state.label != label or state.boot_id != self._context.boot_id:
            raise UploadUnknown("no such upload: begin a new one")
        return state

"""The commit of an upload: the steps that make its content durable before the client gets 201.

1. The bytes are checked against the digest, and the content is claimed (`claims`).
2. The upload's data file is synced, then its directory. After a failed sync the upload is dropped;
   the sync is never retried.
3. The recipe is indexed in slices, each but the last in a transaction of its own. COMMITS records
   the progress.
4. One last change indexes the last slice and the names of the content, which makes the content
   durable and findable. It is `Placement.pending`: an engine that commits local and shared tables
   together runs it in the transaction of the link.

If the content is in the store already, the last change writes only its name, and the upload's bytes
are dropped once the link is written. Of several commits of one content one goes through all steps.
The others wait for it, then find the content and share the claim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from dtrfast.errors import DigestInvalid, StorageFailed, UploadUnknown
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import (
    BLOBS,
    COMMITS,
    CONTENTS_UNLINKED,
    FILES,
    PACKS,
    RECIPES,
    UPLOADS_FINISHED,
    number_key,
)
from dtrfast.oci.digests import Digest
from dtrfast.store import contents, leftovers, recipes, records, statistics
from dtrfast.store.blobs import BlobStat
from dtrfast.store.claims import ContentClaim
from dtrfast.store.context import StoreContext
from dtrfast.store.one_body import OneBody
from dtrfast.store.parts import UploadPart
from dtrfast.store.records import Commit, Content, ContentKind, Pack
from dtrfast.store.uploads import LocalUpload

_KINDS: dict[str, ContentKind] = {"head": "inline", "loose": "loose", "chunked": "chunked"}


@dataclass(frozen=True, slots=True)
class _CommitPlan:
    """The values that a commit writes, fixed before its first transaction."""

    upload: LocalUpload
    digest: Digest
    sha256: Digest
    now: int


class LocalPlacement:
    """See `Placement`."""

    def __init__(
        self,
        context: StoreContext,
        upload: LocalUpload | OneBody,
        claim: ContentClaim,
        change: _Change,
        inline: bytes | None,
    ) -> None:
        chosen = upload.chosen
        self.stat = BlobStat(change.plan.digest, chosen.offset)
        self.inline = inline
        self._context = context
        self._upload = upload
        self._claim = claim
        self._change = change
        self._is_settled = False

    @property
    def pending(self) -> Callable[[WriteTransaction], object] | None:
        return None if self._is_settled else self._change.run

    def settle(self) -> None:
        if not self._is_settled:
            self._context.engine.write(self._change.run_alone)
            self._is_settled = True

    def finish(self) -> None:
        self._is_settled = True
        self._upload.forget()

    def close(self) -> None:
        self._claim.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _Change:
    """The last change of a commit.

    `last`: the slice that it indexes; None if the content is in the store already.
    """

    plan: _CommitPlan
    last: _CommitSlice | None

    def run(self, transaction: WriteTransaction) -> None:
        plan = self.plan
        if self.last is None:
            found = contents.find(transaction, plan.sha256)
            if found is None or found.content.damaged_at:
                raise StorageFailed("the blob was found damaged a moment ago: send it again")
            contents.name(transaction, found, plan.digest)
        else:
            _publish(transaction, plan, self.last)
        # For a client that lost the answer and sends its closing PUT again.
        memory = records.FinishedUpload(plan.now, plan.digest, plan.upload.label)
        transaction.put(UPLOADS_FINISHED, plan.upload.session, memory.encode())

    def run_alone(self, transaction: WriteTransaction) -> None:
        """Run the change in a transaction without the link, and list the content as unlinked.

        If the link is never written, reclaim finds the content in CONTENTS_UNLINKED.
        """
        self.run(transaction)
        if self.last is not None:
            number = number_key(self.last.progress.content)
            transaction.put(CONTENTS_UNLINKED, number, number_key(self.plan.now))


def commit(context: StoreContext, upload: LocalUpload | OneBody, digest: Digest) -> LocalPlacement:
    """See `BlobStore.commit`."""
    try:
        upload.check(digest)
    except DigestInvalid:
        upload.cancel()
        raise
    chosen = upload.chosen
    plan = _CommitPlan(chosen, digest, chosen.sha256(), context.clock())
    claim = ContentClaim(context.layout.claims)
    try:
        last = None if _claim(context, plan, claim) else _place(context, plan)
        is_unlinked = chosen.mode == "head" and (last is not None or _is_listed(context, plan))
    except BaseException:
        claim.close()
        raise
    inline = chosen.received.head if is_unlinked else None
    return LocalPlacement(context, upload, claim, _Change(plan, last), inline)


def _claim(context: StoreContext, plan: _CommitPlan, claim: ContentClaim) -> bool:
    """Claim the content; return True if it is in the store already.

    Then the claim is shared, so that commits of the same content need not wait for one another.
    """
    if not claim.add(plan.sha256):
        claim.wait_to_share(plan.sha256)
        if _is_there(context, plan):
            return True
        claim.wait(plan.sha256)
    is_there = _is_there(context, plan)
    if is_there:
        claim.share(plan.sha256)
    return is_there


def _is_there(context: StoreContext, plan: _CommitPlan) -> bool:
    """Return True if the content is there, undamaged, so that the upload's bytes are not needed."""
    with context.engine.read() as transaction:
        found = contents.find(transaction, plan.sha256)
    if found is None or found.content.damaged_at:
        return False
    content = found.content
    if content.file_id is None:
        return True
    try:
        return context.layout.blob(content.file_id).stat().st_size == content.size
    except FileNotFoundError:
        return False


def _is_listed(context: StoreContext, plan: _CommitPlan) -> bool:
    """True if the content is listed as unlinked: its first link may never have been written."""
    with context.engine.read() as transaction:
        number = transaction.get(BLOBS, plan.sha256.key())
        return number is not None and transaction.get(CONTENTS_UNLINKED, number) is not None


def _place(context: StoreContext, plan: _CommitPlan) -> _CommitSlice:
    """Sync the files, and index all slices of the recipe but the last, which is returned."""
    upload = plan.upload
    if upload.mode != "head" and leftovers.has_ended(context, upload.file_id, has_file=True):
        # `settle` wrote it before, without a link, and reclaim freed it: its file is about to go.
        raise UploadUnknown("the upload has ended: begin a new one")
    upload.finish()
    with context.engine.read() as transaction:
        progress = leftovers.progress(transaction, upload.file_id)  # of a commit that was cut off
    if progress is None:
        pack = context.numbers.take() if upload.mode == "chunked" else 0
        progress = Commit(version=1, content=context.numbers.take(), pack=pack, parts=0, offset=0)
    return _index_slices(context, plan, progress)


def _give_up_lost(transaction: WriteTransaction, plan: _CommitPlan) -> bytes | None:
    """List a content that is lost or damaged for reclaim, since the new one takes its names over.

    Return its SHA-512, or None.
    """
    found = contents.find(transaction, plan.sha256)
    if found is None:
        return None
    transaction.put(CONTENTS_UNLINKED, number_key(found.number), number_key(plan.now))
    return found.content.sha512


def _index_slices(context: StoreContext, plan: _CommitPlan, progress: Commit) -> _CommitSlice:
    """Index all but the last slice, each in a transaction of its own."""
    count = plan.upload.received.position.parts
    while count - progress.parts > recipes.SLICE_PARTS_MAX:
        parts = plan.upload.received.read_parts(progress.parts, recipes.SLICE_PARTS_MAX)
        progress = context.engine.write(
            partial(_add, plan=plan, step=_CommitSlice(progress, parts))
        )
    left = count - progress.parts
    return _CommitSlice(
        progress, plan.upload.received.read_parts(progress.parts, left) if left else []
    )


@dataclass(frozen=True, slots=True)
class _CommitSlice:
    """Parts to index next, and the progress of the commit before them."""

    progress: Commit
    parts: list[UploadPart]


def _add(transaction: WriteTransaction, plan: _CommitPlan, step: _CommitSlice) -> Commit:
    """Index a slice; record and return the progress after it."""
    progress = step.progress
    if progress.parts == 0 and progress.pack:
        pack = number_key(progress.pack)
        size, file_id = plan.upload.received.data_size, plan.upload.file_id
        record = Pack(version=1, file_id=file_id, size=size, live=0, created_at=plan.now)
        transaction.put(PACKS, pack, records.encode(record))
        transaction.put(FILES, file_id, records.pack_owner(progress.pack))
        statistics.add(transaction, packs=1, pack_bytes=size)
    target = recipes.RecipeTarget(progress.content, progress.pack, progress.offset)
    offset = recipes.add_slice(transaction, target, step.parts, plan.now)
    reached = Commit(
        version=1,
        content=progress.content,
        pack=progress.pack,
        parts=progress.parts + len(step.parts),
        offset=offset,
    )
    transaction.put(COMMITS, plan.upload.file_id, records.encode(reached))
    return reached


def _publish(transaction: WriteTransaction, plan: _CommitPlan, last: _CommitSlice) -> None:
    """Index the last slice, the content and its names, in one transaction."""
    sha512 = _give_up_lost(transaction, plan)
    number = last.progress.content
    if plan.upload.mode == "chunked":
        _add(transaction, plan, last)
        transaction.delete(COMMITS, plan.upload.file_id)
        recipes.add_live(transaction, last.progress.pack, plan.upload.received.recipe_size)
    elif plan.upload.mode == "loose":
        row = records.file_row(plan.upload.file_id)
        transaction.put(RECIPES, records.recipe_key(number, 0), row)
        transaction.put(FILES, plan.upload.file_id, records.loose_owner(number))
    else:
        row = records.inline_row(plan.upload.received.head)
        transaction.put(RECIPES, records.recipe_key(number, 0), row)
    content = _content(plan, sha512, last.progress.pack)
    contents.put(transaction, number, content)


def _content(plan: _CommitPlan, sha512: bytes | None, pack: int) -> Content:
    upload = plan.upload
    loose = upload.mode == "loose"
    return Content(
        version=1,
        kind=_KINDS[upload.mode],
        size=upload.offset,
        stored=0 if upload.mode == "chunked" else upload.offset,
        sha256=plan.sha256.raw,
        sha512=plan.digest.raw if plan.digest.algorithm == "sha512" else sha512,
        file_id=upload.file_id if loose else None,
        pushed_at=plan.now,
        recipe_pack=pack,
        recipe_size=upload.received.recipe_size if pack else 0,
    )

"""From an upload to content: what must be on disk before the client hears 201.

* The upload's bytes have the digest, and the content is claimed (`claims`).
* Files are synced, then their directory. A sync that fails drops the upload; it is never tried
  again.
* The recipe is indexed in slices, all but the last on their own; COMMITS says how far it came.
* One change indexes the last slice and names the content: now it is findable, and durable. That
  change is `pending`: an index that can commits it together with the link.

Where the content is there already, only its name is written, and the upload's bytes are dropped
once the link is. One commit of a content goes through all steps while the others wait; they find it
done, and share the claim.
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
    CONTENTS,
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
from dtrfast.store.claims import Claim
from dtrfast.store.context import Context
from dtrfast.store.one_body import OneBody
from dtrfast.store.parts import Part
from dtrfast.store.records import LOOSE_FILE, PACK_FILE, Commit, Content, ContentKind, Pack
from dtrfast.store.uploads import LocalUpload

_KINDS: dict[str, ContentKind] = {"head": "inline", "loose": "loose", "chunked": "chunked"}


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a commit will write; fixed before its first transaction."""

    upload: LocalUpload
    digest: Digest
    sha256: Digest
    now: int


class LocalPlaced:
    """See `Placed`."""

    def __init__(
        self,
        context: Context,
        upload: LocalUpload | OneBody,
        claim: Claim,
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
    """The last change of a commit: `last` is the slice that it indexes, None where the content is
    there already.
    """

    plan: _Plan
    last: _Slice | None

    def run(self, transaction: WriteTransaction) -> None:
        if self.last is None:
            _name(transaction, self.plan)
        else:
            _publish(transaction, self.plan, self.last)
        _remember(transaction, self.plan)

    def run_alone(self, transaction: WriteTransaction) -> None:
        """The link comes in a transaction of its own. If it never comes, reclaim finds the content
        by this row.
        """
        self.run(transaction)
        if self.last is not None:
            number = number_key(self.last.progress.content)
            transaction.put(CONTENTS_UNLINKED, number, number_key(self.plan.now))


def commit(context: Context, upload: LocalUpload | OneBody, digest: Digest) -> LocalPlaced:
    """See `BlobStore.commit`."""
    try:
        upload.check(digest)
    except DigestInvalid:
        upload.cancel()
        raise
    chosen = upload.chosen
    plan = _Plan(chosen, digest, chosen.sha256(), context.clock())
    claim = Claim(context.layout.claims)
    try:
        last = None if _claim(context, plan, claim) else _place(context, plan)
        is_unlinked = chosen.mode == "head" and (last is not None or _is_listed(context, plan))
    except BaseException:
        claim.close()
        raise
    inline = chosen.head if is_unlinked else None
    return LocalPlaced(context, upload, claim, _Change(plan, last), inline)


def _claim(context: Context, plan: _Plan, claim: Claim) -> bool:
    """Claim the content: shared if it is there, so that many commits of it need not wait for one
    another. Returns whether it is there.
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


def _is_there(context: Context, plan: _Plan) -> bool:
    """Return whether the content is there, so that its bytes are not needed."""
    with context.engine.read() as transaction:
        found = contents.find(transaction, plan.sha256)
    return not (found is None or found.content.damaged_at or _is_lost(context, found.content))


def _is_listed(context: Context, plan: _Plan) -> bool:
    """True if the content was settled, and reclaim has not seen since that it is held: its first
    link may never have been written.
    """
    with context.engine.read() as transaction:
        number = transaction.get(BLOBS, plan.sha256.key())
        return number is not None and transaction.get(CONTENTS_UNLINKED, number) is not None


def _place(context: Context, plan: _Plan) -> _Slice:
    """Make everything of the content durable but its last slice."""
    upload = plan.upload
    if upload.mode != "head" and leftovers.has_ended(context, upload.file_id, has_file=True):
        # It was settled before, without a link, and freed since: its file is about to go.
        raise UploadUnknown("the upload has ended: begin a new one")
    upload.finish()
    return _index_slices(context, plan, _begin(context, plan))


def _is_lost(context: Context, content: Content) -> bool:
    """Whether a loose blob's file has another length than the index says: then it is replaced."""
    if content.file_id is None:
        return False
    try:
        return context.layout.blob(content.file_id).stat().st_size != content.size
    except FileNotFoundError:
        return True


def _give_up_lost(transaction: WriteTransaction, plan: _Plan) -> bytes | None:
    """Leave a content that is lost or damaged to the reclaim: its names are about to be taken.

    Returns the SHA-512 that it also went by.
    """
    found = contents.find(transaction, plan.sha256)
    if found is None:
        return None
    transaction.put(CONTENTS_UNLINKED, number_key(found.number), number_key(plan.now))
    return found.content.sha512


def _name(transaction: WriteTransaction, plan: _Plan) -> None:
    found = contents.find(transaction, plan.sha256)
    if found is None or found.content.damaged_at:
        raise StorageFailed("the blob was found damaged a moment ago: send it again")
    contents.name(transaction, found, plan.digest)


def _begin(context: Context, plan: _Plan) -> Commit:
    """Where to start: at the beginning, or where a commit that was cut off had come to."""
    with context.engine.read() as transaction:
        started = leftovers.progress(transaction, plan.upload.file_id)
    if started is not None:
        return started
    pack = context.numbers.take() if plan.upload.mode == "chunked" else 0
    return Commit(version=1, content=context.numbers.take(), pack=pack, parts=0, offset=0)


def _index_slices(context: Context, plan: _Plan, progress: Commit) -> _Slice:
    """Index all but the last slice, each in a transaction of its own."""
    count = plan.upload.position.parts
    while count - progress.parts > recipes.SLICE_PARTS_MAX:
        parts = plan.upload.read_parts(progress.parts, recipes.SLICE_PARTS_MAX)
        progress = context.engine.write(partial(_add, plan=plan, step=_Slice(progress, parts)))
    left = count - progress.parts
    return _Slice(progress, plan.upload.read_parts(progress.parts, left) if left else [])


@dataclass(frozen=True, slots=True)
class _Slice:
    """Parts to index next, and how far the commit has come before them."""

    progress: Commit
    parts: list[Part]


def _add(transaction: WriteTransaction, plan: _Plan, step: _Slice) -> Commit:
    """Index a slice and note how far the commit has come."""
    progress = step.progress
    if progress.parts == 0:
        _add_pack(transaction, plan, progress.pack)
    target = recipes.Target(progress.content, progress.pack, progress.offset)
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


def _publish(transaction: WriteTransaction, plan: _Plan, last: _Slice) -> None:
    """The last slice, the content and its names: all at once."""
    sha512 = _give_up_lost(transaction, plan)
    number = last.progress.content
    if plan.upload.mode == "chunked":
        _add(transaction, plan, last)
        transaction.delete(COMMITS, plan.upload.file_id)
        recipes.add_live(transaction, last.progress.pack, plan.upload.recipe_size)
    else:
        transaction.put(RECIPES, number_key(number) + number_key(0), _row(plan.upload))
    if plan.upload.mode == "loose":
        transaction.put(FILES, plan.upload.file_id, LOOSE_FILE + number_key(number))
    content = _content(plan, sha512, last.progress.pack)
    transaction.put(CONTENTS, number_key(number), records.encode(content))
    for name in contents.digests(content):
        transaction.put(BLOBS, name.key(), number_key(number))
    count = {f"{content.kind}_blobs": 1, f"{content.kind}_bytes": content.size}
    statistics.add(transaction, **count)


def _remember(transaction: WriteTransaction, plan: _Plan) -> None:
    """The closing PUT may be sent again, though its answer was lost."""
    memory = number_key(plan.now) + plan.digest.key() + plan.upload.label.encode()
    transaction.put(UPLOADS_FINISHED, plan.upload.session, memory)


def _row(upload: LocalUpload) -> bytes:
    if upload.mode == "loose":
        return records.file_row(upload.file_id)
    return records.inline_row(upload.head)


def _content(plan: _Plan, sha512: bytes | None, pack: int) -> Content:
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
        recipe_size=upload.recipe_size if pack else 0,
    )


def _add_pack(transaction: WriteTransaction, plan: _Plan, number: int) -> None:
    if not number:
        return
    size = plan.upload.data_size()
    pack = Pack(version=1, file_id=plan.upload.file_id, size=size, live=0, created_at=plan.now)
    transaction.put(PACKS, number_key(number), records.encode(pack))
    transaction.put(FILES, plan.upload.file_id, PACK_FILE + number_key(number))
    statistics.add(transaction, packs=1, pack_bytes=size)

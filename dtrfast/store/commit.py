"""From an upload to a blob: what must be on disk before the client hears 201.

1. The upload's bytes have the digest.
2. Files are synced, then their directory. A sync that fails drops the upload; it is never tried
again. 3. The recipe is indexed in slices, all but the last on their own; COMMITS says how far it
came. 4. One transaction indexes the last slice, names the content and links it: now it is visible,
and durable.

Where the content is there already, only the link is made and the upload's bytes are dropped. A lock
on the first byte of the digest lets one commit of a content go through all steps while the others
wait: they find it done.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

from dtrfast.errors import DigestInvalid
from dtrfast.index import changes
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
from dtrfast.store import contents, disk, leftovers, recipes, records, statistics
from dtrfast.store.blobs import BlobStat, RepositoryId
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
    repository: RepositoryId
    now: int


def commit(
    context: Context, upload: LocalUpload | OneBody, digest: Digest, repository: RepositoryId
) -> BlobStat:
    """See `BlobStore.commit`."""
    try:
        upload.check(digest)
    except DigestInvalid:
        upload.cancel()
        raise
    chosen = upload.chosen
    plan = _Plan(chosen, digest, chosen.sha256(), repository, context.clock())
    lock = _commit_lock(context, plan.sha256) if chosen.mode != "head" else nullcontext()
    with lock:
        if not _link_existing(context, plan):
            _commit_new(context, plan)
    upload.forget()
    return BlobStat(digest, chosen.offset)


def _link_existing(context: Context, plan: _Plan) -> bool:
    """Link the content if it is there; False if its bytes are needed."""
    with context.engine.read() as transaction:
        found = contents.find(transaction, plan.sha256)
    if found is None or found.content.damaged_at or _is_lost(context, found.content):
        return False
    return context.engine.write(partial(_link, plan=plan))


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


def _link(transaction: WriteTransaction, plan: _Plan) -> bool:
    found = contents.find(transaction, plan.sha256)
    if found is None or found.content.damaged_at:
        return False
    contents.name(transaction, found, plan.digest)
    _finish(transaction, plan)
    return True


def _commit_new(context: Context, plan: _Plan) -> None:
    """Make the content."""
    plan.upload.finish()
    progress = _begin(context, plan)
    last = _index_slices(context, plan, progress)
    context.engine.write(partial(_publish, plan=plan, last=last))


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
    """The last slice, the content, its names and its link: all at once."""
    if plan.upload.mode == "head" and _link(transaction, plan):
        return  # no lock is taken for what costs less than the lock
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
    if plan.upload.mode == "head":
        _record_inline(transaction, plan)
    content = _content(plan, sha512, last.progress.pack)
    transaction.put(CONTENTS, number_key(number), records.encode(content))
    for name in contents.digests(content):
        transaction.put(BLOBS, name.key(), number_key(number))
    count = {f"{content.kind}_blobs": 1, f"{content.kind}_bytes": content.size}
    statistics.add(transaction, **count)
    _finish(transaction, plan)


def _finish(transaction: WriteTransaction, plan: _Plan) -> None:
    upload = plan.upload
    contents.link(transaction, plan.repository, plan.digest, upload.offset, plan.now)
    memory = number_key(plan.now) + plan.digest.key() + upload.name.encode()
    transaction.put(UPLOADS_FINISHED, upload.session, memory)


def _row(upload: LocalUpload) -> bytes:
    if upload.mode == "loose":
        return records.file_row(upload.file_id)
    return records.inline_row(upload.head)


def _record_inline(transaction: WriteTransaction, plan: _Plan) -> None:
    """What lies in the index alone goes to the change log as well."""
    changes.record(
        transaction,
        "blob.put",
        time=plan.now,
        actor="",
        repository="",
        payload={"digest": str(plan.sha256), "body": plan.upload.head},
    )


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


@contextmanager
def _commit_lock(context: Context, digest: Digest) -> Iterator[None]:
    """One commit at a time for this content, over all processes; ends with its holder."""
    path = context.layout.commit_lock(digest.raw[0])
    descriptor = disk.open_or_create(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

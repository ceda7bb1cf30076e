"""Reclaim: frees contents and uploads that are not needed any more, in bounded steps.

The caller of `release` names contents that may have no holder. A list has contents that were
replaced, and those whose process died before it wrote the link. Uploads expire. Loose files are
unlinked. Chunks lose their references and wait for compaction.

Reclaim claims a content, asks the holdings about it, and keeps the claim until its names are
deleted. So a push of it waits, and then places it anew. A mount cannot add a link meanwhile,
because it needs an existing link (docs/reliability.md).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from dtrfast.errors import DtrfastError, UploadBusy, UploadUnknown
from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import (
    BLOBS,
    CONTENTS,
    CONTENTS_UNLINKED,
    FILES_UNOWNED,
    LAYERS,
    PACKS_SPARSE,
    RECIPES,
    UPLOADS_FINISHED,
    number_key,
    number_of,
)
from dtrfast.oci.digests import Digest
from dtrfast.store import (
    contents,
    damage,
    leftovers,
    pins,
    recipes,
    statistics,
    unowned,
)
from dtrfast.store.blobs import IsHeld
from dtrfast.store.claims import ContentClaim
from dtrfast.store.context import StoreContext
from dtrfast.store.open_uploads import OpenUploads
from dtrfast.store.records import LOOSE_FILE, Content, decode_content, recipe_key
from dtrfast.store.tier import replays
from dtrfast.store.upload_state import StateFile, milliseconds_of, parse_upload_id

T = TypeVar("T")

_logger = logging.getLogger("dtrfast.reclaim")

_STEP_MAX = 200  # rows that a step takes from a list: some milliseconds
_LISTED_MAX = 1000
# The answer to a closing PUT is repeated within so many seconds.
_FINISHED_SECONDS = 600


def _each(items: Iterable[T], settle: Callable[[T], int]) -> int:
    """Return the sum of the results of `settle`. Logs an item that fails, and goes on."""
    total = 0
    for item in items:
        try:
            total += settle(item)
        except DtrfastError as error:
            _logger.error("could not reclaim %r: %s", item, error)
    return total


def release(context: StoreContext, digests: Iterable[Digest], is_held: IsHeld) -> list[Digest]:
    """See `BlobStore.release`."""
    settled: list[Digest] = []
    wanted = iter(digests)
    while some := list(islice(wanted, _STEP_MAX)):
        with context.engine.read() as transaction:
            found = {digest: transaction.get(BLOBS, digest.key()) for digest in some}
        numbers = sorted({number for number in found.values() if number is not None})
        done = _settle_each(context, numbers, is_held)
        settled += [digest for digest, one in found.items() if one is None or one in done]
    return settled


def reclaim_contents(context: StoreContext, is_held: IsHeld) -> int:
    """Free listed contents that no repository holds; return the number that is settled.

    A call settles up to `_STEP_MAX`. The process may end at any point: a content stays listed until
    its rows are deleted, and its file is listed as unowned by then.
    """
    after: bytes | None = None
    while True:
        with context.engine.read() as transaction:
            rows = transaction.scan(CONTENTS_UNLINKED, after=after, limit=_STEP_MAX)
            numbers = [number for number, _ in rows]
        if not numbers:
            return 0
        if settled := _settle_each(context, numbers, is_held):
            return len(settled)
        after = numbers[-1]  # none of these can be read or claimed now: go on after them


def _settle_each(context: StoreContext, numbers: list[bytes], is_held: IsHeld) -> set[bytes]:
    """Settle all at once. If that fails, settle them one by one, so that only bad ones remain."""
    if not numbers:
        return set()
    try:
        return _settle(context, numbers, is_held)
    except DtrfastError:
        settled: set[bytes] = set()
        for number in numbers:
            try:
                settled |= _settle(context, [number], is_held)
            except DtrfastError as error:
                _logger.error("could not reclaim content %d: %s", number_of(number), error)
        return settled


def _settle(context: StoreContext, numbers: list[bytes], is_held: IsHeld) -> set[bytes]:
    """Free the contents that no repository holds. Return those that are settled: freed, held, or
    gone already.
    """
    if pins.are_contents_held(context.layout.data):
        return set()  # checked first, to save the claims and the question to the holdings
    with ContentClaim(context.layout.claims) as claim:
        ours = _claimed(context, numbers, claim)
        held = is_held([one.names for one in ours])
        if pins.are_contents_held(context.layout.data):
            return set()  # checked again: a backup that begins now sees no holder of these
        going = [one for one, is_one in zip(ours, held, strict=True) if not is_one]
        context.engine.write(partial(_take_names, ours=ours, going=going))
    # No claims from here on: a push of the same content need not wait, since it places it anew.
    recipes.remove(context.engine, [number_of(one.number) for one in going if one.is_chunked])
    # Their names are gone, so that no conversion gives them another recipe.
    with context.engine.read() as transaction:
        numbers_gone = [number_of(one.number) for one in going]
        converted = [n for n in numbers_gone if replays.is_converted(transaction, n)]
    for number in converted:
        replays.drop(context.engine, number)
    context.engine.write(partial(_forget, numbers=[one.number for one in going]))
    unowned.unlink(context)
    return {one.number for one in ours}


def list_unheld(engine: Engine, is_held: IsHeld, now: int) -> None:
    """List all contents that no repository holds, in an index that was rebuilt or restored."""
    after: bytes | None = None
    while True:
        with engine.read() as transaction:
            rows = transaction.scan(CONTENTS, after=after, limit=_LISTED_MAX)
            numbers = [number for number, _ in rows]
            names = [contents.own_names(transaction, number) for number in numbers]
        if not numbers:
            return
        held = is_held(names)
        free = [number for number, is_one in zip(numbers, held, strict=True) if not is_one]
        engine.write(partial(_list, numbers=free, now=now))
        after = numbers[-1]


def _list(transaction: WriteTransaction, numbers: list[bytes], now: int) -> None:
    for number in numbers:
        transaction.put(CONTENTS_UNLINKED, number, number_key(now))


@dataclass(frozen=True, slots=True)
class _OwnContent:
    """A claimed content, or None if it is gone, and the names that lead to it."""

    number: bytes
    content: Content | None
    names: list[Digest]

    @property
    def is_chunked(self) -> bool:
        return self.content is not None and self.content.kind == "chunked"


def _claimed(context: StoreContext, numbers: list[bytes], claim: ContentClaim) -> list[_OwnContent]:
    """Claim contents; return those that no other caller has claimed."""
    with context.engine.read() as transaction:
        seen = {number: _content(transaction, number) for number in numbers}
    ours = [
        number
        for number, content in seen.items()
        if content is None or claim.add(Digest("sha256", content.sha256))
    ]
    # Read again: a content may have changed before it was claimed.
    with context.engine.read() as transaction:
        return [
            _OwnContent(
                number, _content(transaction, number), contents.own_names(transaction, number)
            )
            for number in ours
        ]


def _content(transaction: ReadTransaction, number: bytes) -> Content | None:
    data = transaction.get(CONTENTS, number)
    return None if data is None else decode_content(data)


def _take_names(
    transaction: WriteTransaction, ours: list[_OwnContent], going: list[_OwnContent]
) -> None:
    """Delete the names of contents. They stay listed until their rows are deleted."""
    for one in ours:
        transaction.delete(CONTENTS_UNLINKED, one.number)
    for one in going:
        if one.content is not None:
            transaction.put(CONTENTS_UNLINKED, one.number, number_key(0))
        for digest in one.names:
            transaction.delete(BLOBS, digest.key())


def _forget(transaction: WriteTransaction, numbers: list[bytes]) -> None:
    for number in numbers:
        data = transaction.pop(CONTENTS, number)
        if data is None:
            continue
        # The present record: the content may have been marked as damaged since the claim.
        content = decode_content(data)
        transaction.delete(CONTENTS_UNLINKED, number)
        transaction.delete(LAYERS, number)
        if content.kind in ("inline", "loose"):
            transaction.delete(RECIPES, recipe_key(number_of(number), 0))
        if content.file_id is not None:
            unowned.give_up(transaction, content.file_id, LOOSE_FILE)
        if content.recipe_pack:
            recipes.add_live(transaction, content.recipe_pack, -content.recipe_size)
        if content.damaged_at:
            damage.forget_content(transaction, number)
        count = {f"{content.kind}_blobs": -1, f"{content.kind}_bytes": -content.size}
        statistics.add(transaction, **count)


def expire_uploads(context: StoreContext) -> int:
    """Remove uploads that got no bytes for too long or are of another boot; return their number."""
    removed = _each(context.layout.uploads.glob("*.state"), partial(_expire, context))
    OpenUploads(context).forget_empty()
    return removed


def _expire(context: StoreContext, path: Path) -> bool:
    try:
        file_id = parse_upload_id(path.stem)
        state_file = StateFile.open(path, wait_seconds=0)
    except (UploadUnknown, UploadBusy):
        return False
    try:
        idle = context.clock() - path.stat().st_mtime
        if idle <= context.upload_expiry_seconds:
            state = state_file.read()
            # A state that cannot be read says nothing about the boot: then only the time counts.
            if state is None or state.boot_id == context.boot_id:
                return False
        leftovers.remove_upload(context, file_id)
        return True
    finally:
        state_file.close()


def forget_finished(context: StoreContext) -> int:
    """Delete the records of old closing PUTs; return their number."""
    total = 0
    while True:
        old = context.clock() - _FINISHED_SECONDS
        with context.engine.read() as transaction:
            rows = transaction.scan(UPLOADS_FINISHED, limit=_STEP_MAX)
            keys = [
                k for k, value in rows if milliseconds_of(k) < old * 1000 and number_of(value) < old
            ]
        if not keys:
            return total
        context.engine.write(partial(_delete_finished, keys=keys))
        total += len(keys)


def _delete_finished(transaction: WriteTransaction, keys: list[bytes]) -> None:
    for key in keys:
        transaction.delete(UPLOADS_FINISHED, key)


def pending(context: StoreContext) -> dict[str, int]:
    """Count the rows that wait to be reclaimed, by kind; up to a thousand of each."""
    lists = {
        "unlinked contents": CONTENTS_UNLINKED,
        "sparse packs": PACKS_SPARSE,
        "files": FILES_UNOWNED,
    }
    with context.engine.read() as transaction:
        return {
            name: sum(1 for _ in transaction.scan(table, limit=1000))
            for name, table in lists.items()
        }

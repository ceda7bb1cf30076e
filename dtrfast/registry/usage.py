"""Disk usage: the size of things, the part that only they need, and the bytes that deletion frees.

All numbers of a measurement hold for one change number. A measurement during which the index
changes is repeated; after some tries its numbers are marked as not exact. A request reads a bounded
number of rows. If there are more, its numbers cover a part only. A deletion frees bytes only once
the deleted things have left the trash.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from functools import partial

import msgspec

from dtrfast.index import counters
from dtrfast.index.engine import Engine, ReadTransaction
from dtrfast.index.tables import META, REPOSITORY_NAMES, USAGES, number_key
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import links
from dtrfast.registry.budget import Budget, unlimited
from dtrfast.registry.keys import RepositoryId
from dtrfast.registry.permits import Action, Permits
from dtrfast.registry.usage_scopes import SCOPE_STEPS, FindScope, MeasurementScope
from dtrfast.store.blobs import BlobStore

_TRIES = 3
# Holders of one blob that a measurement reads. If more repositories hold the blob, it counts as
# needed by others.
_HOLDERS_MAX = 10_000
# The work of a request besides that of finding the scope: rows of holders, to find the repositories
# that the caller may not see; rows of holders, to find the blobs that stay; and steps of the store.
_HOLDER_STEPS = 3_000
_STAY_STEPS = 8_000
_STORE_STEPS = 8_000
# Steps of a check that the caller may see a repository.
_VERDICT_STEPS = 8
# A request does not repeat a measurement of more blobs than this.
_AGAIN_BLOBS_MAX = 1_000


class Numbers(msgspec.Struct, frozen=True, array_like=True):
    """Sizes of something. A client that has nothing would pull `logical_bytes`. `stored_bytes` are
    on disk; nothing else needs `unique_bytes` of them. New fields are appended, with a default.
    """

    version: int
    change_number: int
    is_exact: bool
    manifests: int
    blobs: int
    logical_bytes: int
    stored_bytes: int
    unique_bytes: int
    freed_bytes: int  # if it was deleted, once that is out of the trash
    is_part: bool = False  # there is more than one request looks at

    @property
    def shared_bytes(self) -> int:
        return self.stored_bytes - self.unique_bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Numbers)


def measure(
    engine: Engine,
    blobs: BlobStore,
    find_scope: FindScope,
    permits: Permits | None = None,
    *,
    is_request: bool = True,
) -> Numbers:
    """Measure the scope that `find_scope` returns, with `is_request` at a bounded cost.

    With `permits`, repositories that the caller may not see count as if they did not exist:
    otherwise the numbers would show what others hold. `unique` and `freed` are then upper bounds.
    """
    for _ in range(_TRIES):
        numbers, is_unchanged = _measure_once(engine, blobs, find_scope, permits, is_request)
        is_dear = is_request and numbers.blobs > _AGAIN_BLOBS_MAX
        if is_unchanged or is_dear:
            break
    return numbers


def _measure_once(
    engine: Engine,
    blobs: BlobStore,
    find_scope: FindScope,
    permits: Permits | None,
    is_request: bool,
) -> tuple[Numbers, bool]:
    """Return the numbers, and True if the index did not change meanwhile."""
    budget = Budget(steps_left=SCOPE_STEPS) if is_request else unlimited()
    with engine.read() as transaction:
        before = _change_number(transaction)
        scope = find_scope(transaction, budget)
        leaving = set(scope.leaving)
        if permits is not None:
            leaving |= _invisible_holders(transaction, scope, permits, budget)
    steps = Budget(steps_left=_STAY_STEPS) if is_request else unlimited()
    usage = blobs.measure(
        scope.blobs,
        partial(_are_staying, engine, leaving, scope.staying, steps),
        is_alone=permits is not None,
        steps_max=_STORE_STEPS if is_request else None,
    )
    with engine.read() as transaction:
        is_unchanged = _change_number(transaction) == before
    is_part = budget.is_spent or steps.is_spent or not usage.is_whole
    unique = usage.unique + scope.manifest_bytes - scope.staying_manifest_bytes
    return Numbers(
        version=1,
        change_number=before,
        is_exact=is_unchanged and not is_part,
        manifests=scope.manifests,
        blobs=len(scope.blobs),
        logical_bytes=usage.size + scope.manifest_bytes,
        stored_bytes=usage.stored + scope.manifest_bytes,
        unique_bytes=unique,
        freed_bytes=0 if scope.is_kept else unique,
        is_part=is_part,
    ), is_unchanged


def _are_staying(
    engine: Engine,
    leaving: Set[RepositoryId],
    staying: Set[Digest],
    steps: Budget,
    contents: Sequence[Sequence[Digest]],
) -> list[bool]:
    """Answer `IsHeld` as it will be after the deletion: True for content that a repository still
    holds then.
    """
    with engine.read() as transaction:
        return [
            any(
                name in staying or _is_held_elsewhere(transaction, name, leaving, steps)
                for name in names
            )
            for names in contents
        ]


def _is_held_elsewhere(
    transaction: ReadTransaction, name: Digest, leaving: Set[RepositoryId], steps: Budget
) -> bool:
    """Return True if a repository outside of `leaving` holds the blob, or if no steps are left to
    find out.
    """
    if steps.is_spent:
        return True
    limit = min(len(leaving), steps.steps_left) + 1
    holders = links.holders(transaction, name, limit)
    return not steps.take(len(holders)) or any(holder not in leaving for holder in holders)


def _invisible_holders(
    transaction: ReadTransaction, scope: MeasurementScope, permits: Permits, budget: Budget
) -> set[RepositoryId]:
    """Return the repositories that hold one of the blobs and that the caller may not see.

    Blobs that the budget does not cover leave the scope, so that the numbers show nothing about
    their holders.
    """
    steps = Budget(steps_left=_HOLDER_STEPS)
    is_visible: dict[RepositoryId, bool] = {}
    known: dict[Digest, None] = {}
    for blob in scope.blobs:
        holders = links.holders(transaction, blob, min(_HOLDERS_MAX, steps.steps_left + 1))
        new = [holder for holder in holders if holder not in is_visible]
        if not steps.take(1 + len(holders) + _VERDICT_STEPS * len(new)):
            budget.is_spent = True
            break
        is_visible |= {holder: _is_visible(transaction, holder, permits) for holder in new}
        known[blob] = None
    scope.blobs = known
    return {holder for holder, visible in is_visible.items() if not visible}


def _is_visible(transaction: ReadTransaction, repository: RepositoryId, permits: Permits) -> bool:
    name = transaction.get(REPOSITORY_NAMES, number_key(repository))
    return name is not None and permits.may(transaction, Action.PULL, RepositoryName(name.decode()))


def keep(engine: Engine, subject: str, numbers: Numbers) -> None:
    """Store the numbers of a repository or a namespace, for lists."""
    key = subject.encode()
    engine.write(lambda transaction: transaction.put(USAGES, key, _encoder.encode(numbers)))


def kept(transaction: ReadTransaction, subject: str) -> Numbers | None:
    """Return the numbers that were stored last. They hold for their change number."""
    data = transaction.get(USAGES, subject.encode())
    return None if data is None else _decoder.decode(data)


def _change_number(transaction: ReadTransaction) -> int:
    return counters.last(transaction, META, b"change_sequence")

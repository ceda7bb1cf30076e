"""Runs of the tier over many layers: conversion, eviction and expansion, with progress and result.

A run works beside a running server and beside other runs. It may be stopped at any step, and goes
on where it was. It keeps the numbers of its layers, and loads each layer when its turn comes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import msgspec

from dtrfast.errors import Conflict, Corrupt, FormatUnknown
from dtrfast.oci.digests import Digest
from dtrfast.store.claims import ContentClaim
from dtrfast.store.context import StoreContext
from dtrfast.store.tier import (
    analysis,
    candidates,
    eviction,
    layers,
    occupied,
    recognition,
    replays,
    tidying,
)
from dtrfast.store.tier.candidates import Candidate
from dtrfast.store.tier.conversion import Conversion
from dtrfast.store.tier.encoding import ENCODERS
from dtrfast.store.tier.groups import Groups
from dtrfast.store.tier.layers import NO_ENCODER, Layer
from dtrfast.store.tier.original import Original
from dtrfast.store.tier.plain_source import Framed, LayerKept
from dtrfast.store.tier.status import DAMAGED, TOO_SMALL

# Reasons why a run leaves a layer as it is, besides those that stay true (docs/tier.md).
BUSY = "busy: run again"
FREED = "freed meanwhile"
CONVERTED = "converted by another run"
EVICTED = "evicted by another run"
FRESH = "pushed a short time ago"
ENCODER_MISSING = "unknown encoder: run a newer dtrfast"
RECIPE_DROPPED = "a chunk of its recipe is damaged: recipe dropped"

_Sized: TypeAlias = list[tuple[int, int]]  # content numbers and sizes


@dataclass(frozen=True, slots=True)
class TierStep:
    """Progress of a run: the work, the bytes done, and their total."""

    part: str
    done: int
    total: int


@dataclass(slots=True)
class TierResult:
    """The result of a run: the layers that it changed, and their bytes as pushed.

    `stored`: bytes of new chunks. `kept`: layers that stay as they are, by reason. `failed`: layers
    that could not be read, with the reason. Each layer that the run was to change is in one of
    `layers`, `kept` and `failed`.
    """

    layers: int = 0
    bytes: int = 0
    stored: int = 0
    kept: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[Digest, str]] = field(default_factory=list)


class TierRun:
    """One run. Call one of its methods once, iterate over it, then read `result`."""

    def __init__(self, context: StoreContext) -> None:
        self._context = context
        self.result = TierResult()

    # ---- conversion ------------------------------------------------------------------------
    def convert(self, only: Collection[Digest] | None, *, with_first: bool) -> Iterator[TierStep]:
        """Convert layers: all, or those with the digests `only`.

        `with_first`: convert each layer whose encoder is known. Else only groups that gain a fifth
        or more. Raises `StorageFull`, `StorageFailed`.
        """
        while tidying.remove_unfinished(self._context):
            pass
        found = candidates.scan(self._context, only)
        chosen = _sized(one for one in found if not one.is_converted and self._is_open(one))
        if not with_first:
            chosen = yield from self._judge(chosen)
        total, done = sum(size for _, size in chosen), 0
        for number, size in chosen:
            for part in self._convert(number):
                yield TierStep("convert layers", done + int(part * size), total)
            done += size
        yield TierStep("convert layers", done, total)

    def _is_open(self, one: Candidate) -> bool:
        """Return True if the layer is neither converted nor sure to stay whole; else count it."""
        reason = ""
        if one.is_converted:
            reason = CONVERTED
        elif one.found.content.damaged_at:
            reason = DAMAGED
        elif one.size < candidates.SIZE_MIN:
            reason = TOO_SMALL
        elif one.layer is not None and one.layer.encoder == NO_ENCODER and one.layer.is_current:
            reason = one.layer.reason
        if reason:
            self.result.kept[reason] += 1
        return not reason

    @contextmanager
    def _taken(self, number: int) -> Iterator[Candidate | None]:
        """Take a layer, so that no other run looks at it or converts it during the block. None if
        that cannot be, or if there is nothing to do. Then it is counted.
        """
        with ContentClaim(self._context.layout.conversions) as claim:
            one = candidates.load(self._context, number)
            if one is not None and not claim.add(one.digest):
                self.result.kept[BUSY] += 1
                yield None
                return
            # A run that had it may have changed it.
            one = candidates.load(self._context, number)
            if one is None:
                self.result.kept[FREED] += 1
            yield one if one is not None and self._is_open(one) else None

    def _judge(self, found: _Sized) -> Generator[TierStep, None, _Sized]:
        """Look at the layers, and return those whose groups gain enough."""
        total, done = sum(size for _, size in found), 0
        groups = Groups()
        for number, size in found:
            yield TierStep("look at layers", done, total)
            done += size
            with self._taken(number) as one:
                layer = None if one is None else self._look_at(one)
            if one is not None and layer is not None:
                taken = occupied.size_of(self._context, one, layer)
                groups.add(number, taken, layer, is_converted=False)
            elif one is None:
                self._add_known(groups, number)
        for one in candidates.scan(self._context):
            if one.is_converted and one.layer is not None and groups.may_share(one.layer):
                taken = occupied.size_of(self._context, one, one.layer)
                groups.add(one.number, taken, one.layer, is_converted=True)
        sizes = dict(found)
        chosen: _Sized = []
        for number, reason in groups.verdicts():
            self._put_reason(number, reason)
            if not reason:
                chosen.append((number, sizes[number]))
        return chosen

    def _add_known(self, groups: Groups, number: int) -> None:
        """Let a layer that another run works on count for its group, if there is a verdict."""
        one = candidates.load(self._context, number)
        if one is not None and one.layer is not None and one.layer.chunks:
            taken = occupied.size_of(self._context, one, one.layer)
            groups.add(number, taken, one.layer, is_converted=True)

    def _look_at(self, one: Candidate) -> Layer | None:
        """Return the verdict on a layer whose encoder is known; None if it stays whole."""
        layer = one.layer
        if layer is None or layer.encoder == NO_ENCODER or not layer.chunks:
            try:
                layer = analysis.analyze(Original(self._context, one.found))
            except (Corrupt, FormatUnknown) as error:
                self._fail(one, error)
                return None
            if layer.encoder == NO_ENCODER:
                self._keep(one, layer.reason)
                return None
            self._put_layer(one.number, layer)
        return layer

    def _keep(self, one: Candidate, reason: str) -> None:
        """Record the reason why a layer stays whole, unless it is damage."""
        if reason in recognition.MAYBE_DAMAGE:
            try:
                Original(self._context, one.found).check_digest()
            except Corrupt as error:
                self._fail(one, error)
                return
        self.result.kept[reason] += 1
        self._put_layer(one.number, Layer.kept(reason))

    def _fail(self, one: Candidate, error: Corrupt | FormatUnknown) -> None:
        """Count a layer that cannot be read."""
        now = candidates.load(self._context, one.number)
        if now is None:
            self.result.kept[FREED] += 1
        elif now.is_converted:
            self.result.kept[CONVERTED] += 1
        else:
            self.result.failed.append((one.digest, error.message))

    def _put_reason(self, number: int, reason: str) -> None:
        if reason:
            self.result.kept[reason] += 1
        with self._context.engine.read() as transaction:
            layer = layers.find(transaction, number)
        if layer is not None and layer.reason != reason:
            self._put_layer(number, msgspec.structs.replace(layer, reason=reason))

    def _put_layer(self, number: int, layer: Layer) -> None:
        self._context.engine.write(partial(layers.put, content=number, layer=layer))

    def _convert(self, number: int) -> Iterator[float]:
        """Convert one layer. Yields the part of the work that is done."""
        with self._taken(number) as one, ContentClaim(self._context.layout.claims) as claim:
            if one is None:
                return
            # A caller that places or frees the content has it for a moment.
            if not claim.try_to_share(one.digest):
                self.result.kept[BUSY] += 1
                return
            one = candidates.load(self._context, number)  # it may have been freed before the claim
            if one is None:
                self.result.kept[FREED] += 1
                return
            try:
                yield from self._convert_claimed(one)
            except LayerKept as kept:
                self._keep(one, str(kept))
            except Conflict:
                self.result.kept[BUSY] += 1
            except (Corrupt, FormatUnknown) as error:
                self._fail(one, error)

    def _convert_claimed(self, one: Candidate) -> Iterator[float]:
        original = Original(self._context, one.found)
        found = analysis.recognize(original)
        if not found.encoders:
            raise LayerKept(found.reason)
        conversion = Conversion(self._context, Framed(original, found.encoders, found.header))
        yield from conversion.steps()
        self.result.layers += 1
        self.result.bytes += one.size
        self.result.stored += conversion.stored

    # ---- eviction --------------------------------------------------------------------------
    def evict(
        self, only: Collection[Digest] | None, *, pushed_before: int | None
    ) -> Iterator[TierStep]:
        """Drop the originals of converted layers: all, or those with the digests `only`.

        `pushed_before`: leave layers that were pushed at that time (in seconds) or later.
        """
        found: _Sized = []
        for one in candidates.scan(self._context, only):
            if not one.is_converted or one.is_evicted:
                continue
            if pushed_before is not None and one.found.content.pushed_at >= pushed_before:
                self.result.kept[FRESH] += 1
            else:
                found.append((one.number, one.size))
        total, done = sum(size for _, size in found), 0
        for number, size in found:
            yield TierStep("evict layers", done, total)
            self._evict(number)
            done += size
        yield TierStep("evict layers", done, total)

    def _evict(self, number: int) -> None:
        one = candidates.load(self._context, number)
        try:
            size = eviction.evict(self._context, number)
            reason = "" if size else self._why_not_evicted(number)
        except (Corrupt, FormatUnknown) as error:
            if one is None:
                raise
            self.result.failed.append((one.digest, error.message))
            return
        if reason:
            self.result.kept[reason] += 1
        else:
            self.result.layers += 1
            self.result.bytes += size

    def _why_not_evicted(self, number: int) -> str:
        one = candidates.load(self._context, number)
        if one is None:
            return FREED
        if one.is_evicted:
            return EVICTED
        if not one.is_converted:
            return RECIPE_DROPPED
        if one.found.content.damaged_at:
            return DAMAGED
        with self._context.engine.read() as transaction:
            replay = replays.find(transaction, number)
        is_known = replay is None or replay.encoder in ENCODERS
        return BUSY if is_known else ENCODER_MISSING

    # ---- expansion -------------------------------------------------------------------------
    def expand(self) -> Iterator[TierStep]:
        """Re-create all originals, and drop all replay recipes. Raises `StorageFull` if there is
        not enough space for all of them; then nothing is changed.
        """
        found: _Sized = []  # with the bytes that each needs
        for one in candidates.scan(self._context):
            if one.is_converted:
                found.append((one.number, one.size if one.is_evicted else 0))
        total, done = sum(size for _, size in found), 0
        if total:  # else it only frees space
            self._context.space.check(total, eviction.EXPANSION)
        for number, size in found:
            yield TierStep("re-create layers", done, total)
            self._expand(number)
            done += size
        while tidying.remove_unfinished(self._context):
            pass
        yield TierStep("re-create layers", done, total)

    def _expand(self, number: int) -> None:
        one = candidates.load(self._context, number)
        if one is None:
            self.result.kept[FREED] += 1
            return
        with ContentClaim(self._context.layout.claims) as claim:
            claim.wait_to_share(one.digest)
            try:
                self._expand_claimed(one)
            except (Corrupt, FormatUnknown) as error:
                self.result.failed.append((one.digest, error.message))

    def _expand_claimed(self, one: Candidate) -> None:
        """Expand one layer. Raises `Corrupt` if it is damaged, and `FormatUnknown` if a newer
        version made its recipe.
        """
        self.result.bytes += eviction.restore_original(self._context, one.number)
        now = candidates.load(self._context, one.number)
        if now is None:
            self.result.kept[FREED] += 1
        elif now.is_evicted:
            raise Corrupt("it is damaged: push it again, or delete it")
        else:
            replays.drop(self._context.engine, one.number)
            self.result.layers += 1


def _sized(found: Iterable[Candidate]) -> _Sized:
    return [(one.number, one.size) for one in found]

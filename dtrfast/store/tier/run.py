"""Runs of the tier over many layers: conversion, eviction and expansion, with progress and result.

A run works beside a running server. It may be stopped at any step, and goes on where it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial

import msgspec

from dtrfast.errors import Conflict, Corrupt
from dtrfast.oci.digests import Digest
from dtrfast.store.claims import ContentClaim
from dtrfast.store.context import StoreContext
from dtrfast.store.tier import (
    analysis,
    candidates,
    eviction,
    groups,
    layers,
    recognition,
    replays,
    tidying,
)
from dtrfast.store.tier.candidates import Candidate
from dtrfast.store.tier.conversion import Conversion
from dtrfast.store.tier.groups import Member
from dtrfast.store.tier.layers import NO_ENCODER, Layer
from dtrfast.store.tier.original import Original
from dtrfast.store.tier.plain_source import Framed, LayerKept
from dtrfast.store.tier.status import TOO_SMALL


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
    that could not be read, with the reason.
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
        chosen = [one for one in candidates.scan(self._context, only) if self._is_open(one)]
        if not with_first:
            chosen = yield from self._judge(chosen)
        total, done = sum(one.size for one in chosen), 0
        for one in chosen:
            for part in self._convert(one):
                yield TierStep("convert layers", done + int(part * one.size), total)
            done += one.size
        yield TierStep("convert layers", done, total)

    def _is_open(self, one: Candidate) -> bool:
        """Return True if the layer is neither converted nor sure to stay whole."""
        if one.is_converted or one.found.content.damaged_at:
            return False
        if one.size < candidates.SIZE_MIN:
            self.result.kept[TOO_SMALL] += 1
            return False
        if one.layer is not None and one.layer.encoder == NO_ENCODER and one.layer.is_current:
            self.result.kept[one.layer.reason] += 1
            return False
        return True

    def _judge(self, found: list[Candidate]) -> Generator[TierStep, None, list[Candidate]]:
        """Look at the candidates, and return those whose groups gain enough."""
        total, done = sum(one.size for one in found), 0
        looked: dict[int, Candidate] = {}
        for one in found:
            yield TierStep("look at layers", done, total)
            done += one.size
            layer = self._look_at(one)
            if layer is not None:
                looked[one.number] = Candidate(one.found, layer, is_converted=False)
        converted = [one for one in candidates.scan(self._context) if one.is_converted]
        members = [
            Member(one.number, one.size, one.layer, one.is_converted)
            for one in (*looked.values(), *converted)
            if one.layer is not None
        ]
        chosen: list[Candidate] = []
        for group in groups.group(members):
            new = [looked[one.number] for one in group.members if not one.is_converted]
            for one in new:
                self._put_reason(one, group.reason)
            if not group.reason:
                chosen += new
        return chosen

    def _look_at(self, one: Candidate) -> Layer | None:
        """Return the verdict on a layer whose encoder is known; None if it stays whole."""
        layer = one.layer
        if layer is None or layer.encoder == NO_ENCODER or not layer.chunks:
            try:
                layer = analysis.analyze(Original(self._context, one.found))
            except Corrupt as error:
                self.result.failed.append((one.digest, error.message))
                return None
            if layer.encoder == NO_ENCODER:
                self._keep(one, layer.reason)
                return None
            self._put_layer(one, layer)
        return layer

    def _keep(self, one: Candidate, reason: str) -> None:
        """Record the reason why a layer stays whole, unless it is damage."""
        if reason in recognition.MAYBE_DAMAGE:
            try:
                Original(self._context, one.found).check_digest()
            except Corrupt as error:
                self.result.failed.append((one.digest, error.message))
                return
        self.result.kept[reason] += 1
        self._put_layer(one, Layer.kept(reason))

    def _put_reason(self, one: Candidate, reason: str) -> None:
        if reason:
            self.result.kept[reason] += 1
        if one.layer is not None and one.layer.reason != reason:
            self._put_layer(one, msgspec.structs.replace(one.layer, reason=reason))

    def _put_layer(self, one: Candidate, layer: Layer) -> None:
        self._context.engine.write(partial(layers.put, content=one.number, layer=layer))

    def _convert(self, one: Candidate) -> Iterator[float]:
        """Convert one layer. Yields the part of the work that is done."""
        with ContentClaim(self._context.layout.claims) as claim:
            # A caller that places or frees the content has it for a moment: a later run takes it.
            if not claim.try_to_share(one.digest):
                return
            now = candidates.reload(self._context, one)
            if now is None or not self._is_open(now):
                return
            try:
                yield from self._convert_claimed(now)
            except LayerKept as kept:
                self._keep(now, str(kept))
            except Corrupt as error:
                after = candidates.reload(self._context, one)
                if after is not None and not after.is_converted:
                    self.result.failed.append((one.digest, error.message))
            except Conflict:
                pass  # it was freed, or another run converted it

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
        found = [
            one
            for one in candidates.scan(self._context, only)
            if one.is_converted and not one.is_evicted
        ]
        total, done = sum(one.size for one in found), 0
        for one in found:
            yield TierStep("evict layers", done, total)
            if pushed_before is not None and one.found.content.pushed_at >= pushed_before:
                self.result.kept["pushed a short time ago"] += 1
            elif eviction.evict(self._context, one.number):
                self.result.layers += 1
                self.result.bytes += one.size
            else:
                self.result.kept["damaged or freed"] += 1
            done += one.size
        yield TierStep("evict layers", done, total)

    # ---- expansion -------------------------------------------------------------------------
    def expand(self) -> Iterator[TierStep]:
        """Re-create all originals, and drop all replay recipes. Raises `StorageFull` if there is
        not enough space for all of them; then nothing is changed.
        """
        found = [one for one in candidates.scan(self._context) if one.is_converted]
        total = sum(one.size for one in found if one.is_evicted)
        if total:  # else it only frees space
            self._context.space.check(total, eviction.EXPANSION)
        done = 0
        for one in found:
            yield TierStep("re-create layers", done, total)
            self._expand(one)
            done += one.size if one.is_evicted else 0
        while tidying.remove_unfinished(self._context):
            pass
        yield TierStep("re-create layers", done, total)

    def _expand(self, one: Candidate) -> None:
        with ContentClaim(self._context.layout.claims) as claim:
            claim.wait_to_share(one.digest)
            if candidates.reload(self._context, one) is None:
                return
            try:
                self.result.bytes += eviction.restore_original(self._context, one.number)
            except Corrupt as error:
                self.result.failed.append((one.digest, error.message))
                return
            now = candidates.reload(self._context, one)
            if now is not None and now.is_evicted:
                why = "it is damaged: push it again, or delete it"
                self.result.failed.append((one.digest, why))
            elif now is not None:
                replays.drop(self._context.engine, one.number)
                self.result.layers += 1

"""The state of the tier: layers and bytes by producer, state and reason."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

from dtrfast.index.engine import Engine
from dtrfast.index.tables import REPLAYS, REPLAYS_UNFINISHED
from dtrfast.store.context import StoreContext
from dtrfast.store.tier import candidates
from dtrfast.store.tier.candidates import Candidate
from dtrfast.store.tier.encoding import ENCODERS

TOO_SMALL = "smaller than 256 KiB"
NOT_LOOKED_AT = "not looked at yet"
DAMAGED = "damaged"

LayerState = Literal["whole", "converted", "evicted"]


@dataclass(frozen=True, slots=True)
class TierFigure:
    """Layers of one producer in one state.

    `producer`: the name of the encoder, empty if it is not known. `reason`: why layers stay whole,
    or nothing. `bytes`: as they were pushed.
    """

    state: LayerState
    producer: str
    reason: str
    layers: int
    bytes: int


def measure(context: StoreContext) -> list[TierFigure]:
    """Return the figures of all layers, the largest first."""
    counts: defaultdict[tuple[LayerState, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for one in candidates.scan(context):
        count = counts[_kind(one)]
        count[0] += 1
        count[1] += one.size
    figures = [TierFigure(*kind, *count) for kind, count in counts.items()]
    return sorted(figures, key=lambda figure: -figure.bytes)


def is_unused(engine: Engine) -> bool:
    """Return True if no content has a replay recipe, nor rows that are left of one."""
    with engine.read() as transaction:
        tables = (REPLAYS, REPLAYS_UNFINISHED)
        return not any(list(transaction.scan(table, limit=1)) for table in tables)


def _kind(one: Candidate) -> tuple[LayerState, str, str]:
    layer = one.layer
    producer = ""
    if layer is not None and layer.encoder in ENCODERS:
        producer = ENCODERS[layer.encoder].name
    if one.is_converted:
        return "evicted" if one.is_evicted else "converted", producer, ""
    if one.found.content.damaged_at:
        return "whole", producer, DAMAGED
    if one.size < candidates.SIZE_MIN:
        return "whole", producer, TOO_SMALL
    return "whole", producer, NOT_LOOKED_AT if layer is None else layer.reason

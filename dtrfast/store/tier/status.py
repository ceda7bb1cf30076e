"""The state of the tier: layers and bytes by encoder, state and reason."""

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

# Clients that use an encoder, by its id (docs/encoders.md).
CLIENTS = {
    1: "docker, buildkit, containerd",
    2: "crane, ko, kaniko",
    3: "podman, buildah, skopeo",
    4: "older podman, buildah, skopeo",
    5: "newer podman, buildah, skopeo",
    6: "programs built with Go 1.27",
    9: "jib, bsdtar, Bazel's rules, Python if asked for level 6",
    10: "tar czf",
}

LayerState = Literal["whole", "converted", "evicted"]


@dataclass(frozen=True, slots=True)
class TierFigure:
    """Layers of one encoder in one state.

    `encoder`: its name, empty if it is not known. `clients`: the clients that use it, as far as
    they are known. `reason`: why layers stay whole, or nothing. `bytes`: as they were pushed.
    """

    state: LayerState
    encoder: str
    clients: str
    reason: str
    layers: int
    bytes: int


def measure(context: StoreContext) -> list[TierFigure]:
    """Return the figures of all layers, the largest first."""
    counts: defaultdict[tuple[LayerState, str, str, str], list[int]] = defaultdict(lambda: [0, 0])
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


def _kind(one: Candidate) -> tuple[LayerState, str, str, str]:
    layer = one.layer
    encoder = clients = ""
    if layer is not None and layer.encoder in ENCODERS:
        encoder = ENCODERS[layer.encoder].name
        clients = CLIENTS.get(layer.encoder, "")
    if one.is_converted:
        return "evicted" if one.is_evicted else "converted", encoder, clients, ""
    return "whole", encoder, clients, _reason(one)


def _reason(one: Candidate) -> str:
    """Return the reason why a layer is whole, or nothing."""
    if one.found.content.damaged_at:
        return DAMAGED
    if one.size < candidates.SIZE_MIN:
        return TOO_SMALL
    return NOT_LOOKED_AT if one.layer is None else one.layer.reason

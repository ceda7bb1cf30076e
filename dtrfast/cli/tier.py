"""`dtrfast tier`: store gzip layers as chunks, and see how much that saves."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import App, Parameter

from dtrfast.cli import progress
from dtrfast.cli.command_events import note
from dtrfast.cli.exit_status import DAMAGED, OK
from dtrfast.cli.figures import human
from dtrfast.cli.opening import opened
from dtrfast.cli.options import ConfigFile, Data, Json, Wide
from dtrfast.cli.output import finish, remark, show_json, show_rows
from dtrfast.cli.progress import Meter
from dtrfast.cli.reclaiming import reclaim, waiting
from dtrfast.config import Config, load
from dtrfast.oci.digests import Digest
from dtrfast.registry.registry import Registry
from dtrfast.store.store import Store
from dtrfast.store.tier.run import TierResult, TierStep

tier = App(
    name="tier", help="Store gzip layers as chunks that other versions share (docs/tier.md)."
)

_FAILED_SHOWN_MAX = 100
_COLUMNS = ("state", "encoder", "clients", "reason", "layers", "bytes")
# Without --all, layers stay whole for this time: they are pulled most on their first day.
_FRESH_SECONDS = 24 * 3600

# The files of evicted layers are unlinked within this time, unless a backup needs them.
_WAIT_SECONDS = 60.0

Names = Annotated[str, Parameter(help="Repositories or namespaces. Without any: all.")]


@tier.command
def status(
    *, config: ConfigFile = None, data: Data = None, json: Json = False, wide: Wide = False
) -> None:
    """Show the layers by encoder, with its clients: whole, converted or evicted, and why."""
    settings = load(config, os.environ, {"store.data": data})
    with opened(settings) as store:
        figures = store.tier_figures()
        held = store.statistics()
    rows = [
        {
            "state": one.state,
            "encoder": one.encoder,
            "clients": one.clients,
            "reason": one.reason,
            "layers": one.layers,
            "bytes": one.bytes,
        }
        for one in figures
    ]
    if json:
        sizes = {"storedBytes": held.stored_bytes, "evictedBytes": held.recreated_bytes}
        show_json({"layers": rows, **sizes})
        return
    show_rows(rows, _COLUMNS, is_wide=wide)


@tier.command
def convert(
    *names: Names,
    all: Annotated[
        bool,
        Parameter(
            name="--all",
            help="Also convert first versions, and groups that gain less than a fifth.",
            negative="",
        ),
    ] = False,
    config: ConfigFile = None,
    data: Data = None,
    json: Json = False,
) -> int:
    """Give layers a recipe of chunks, from which they can be re-created bit for bit.

    Each recipe is verified. The gzip files stay until `dtrfast tier evict`.
    """
    settings = load(config, os.environ, {"store.data": data})
    with opened(settings) as store, progress.shown("look at layers") as meter:
        only = _blobs_of(store, settings, names)
        run = store.tier_run()
        _follow(store.convert_layers(run, only, with_first=all), meter)
    return _end(settings, "tier.convert", run.result, "converted", is_json=json)


@tier.command
def evict(
    *names: Names,
    all: Annotated[
        bool,
        Parameter(name="--all", help="Also evict layers of the last 24 hours.", negative=""),
    ] = False,
    config: ConfigFile = None,
    data: Data = None,
    json: Json = False,
) -> int:
    """Delete the gzip files of converted layers. From then on each pull re-creates them."""
    settings = load(config, os.environ, {"store.data": data})
    pushed_before = None if all else int(time.time()) - _FRESH_SECONDS
    with opened(settings) as store, progress.shown("evict layers") as meter:
        only = _blobs_of(store, settings, names)
        before = store.statistics().freed_bytes
        run = store.tier_run()
        _follow(run.evict(only, pushed_before=pushed_before), meter)
        registry = Registry(store.engine, store.blobs, settings)
        pending = reclaim(store, registry, settings, _WAIT_SECONDS, meter)
        freed = store.statistics().freed_bytes - before
    space = _Space(freed, pending)
    return _end(settings, "tier.evict", run.result, "evicted", space, is_json=json)


@tier.command
def expand(*, config: ConfigFile = None, data: Data = None, json: Json = False) -> int:
    """Make all layers gzip files again, and drop the recipes. Needed before `dtrfast rollback`."""
    settings = load(config, os.environ, {"store.data": data})
    with opened(settings) as store, progress.shown("re-create layers") as meter:
        run = store.tier_run()
        _follow(store.expand_layers(run), meter)
    return _end(settings, "tier.expand", run.result, "expanded", is_json=json)


def _blobs_of(store: Store, settings: Config, names: tuple[str, ...]) -> set[Digest] | None:
    """Return the blobs of repositories and namespaces; None if there are no names."""
    if not names:
        return None
    registry = Registry(store.engine, store.blobs, settings)
    return {digest for name in names for digest in registry.blobs_in(name)}


def _follow(steps: Iterator[TierStep], meter: Meter) -> None:
    for step in steps:
        meter.part(step.part, step.done, step.total)


@dataclass(frozen=True, slots=True)
class _Space:
    """Bytes that a command freed, and the numbers of things that still wait to be freed."""

    freed: int
    pending: dict[str, int]

    @property
    def document(self) -> dict[str, Any]:
        return {"freedBytes": self.freed, "pending": self.pending}

    @property
    def lines(self) -> list[str]:
        return [f"freed {_size(self.freed)}", *waiting(self.pending)]


def _end(
    settings: Config,
    kind: str,
    result: TierResult,
    verb: str,
    space: _Space | None = None,
    *,
    is_json: bool,
) -> int:
    """Print the result, and write an audit event."""
    note(settings, kind, {"layers": result.layers, "bytes": result.bytes})
    document: dict[str, Any] = {
        "layers": result.layers,
        "bytes": result.bytes,
        "newChunksBytes": result.stored,
        "kept": dict(result.kept),
        "failed": [{"digest": str(digest), "reason": why} for digest, why in result.failed],
        **(space.document if space else {}),
    }
    lines = [
        f"{verb} {result.layers} layers of {_size(result.bytes)}",
        *(space.lines if space else []),
    ]
    lines += [f"not {verb}: {count} layers, {reason}" for reason, count in result.kept.items()]
    if result.failed:
        lines.append(f"failed: {len(result.failed)} layers")
    finish(document, lines, is_json=is_json)
    for digest, reason in result.failed[:_FAILED_SHOWN_MAX]:
        remark(f"{digest}: {reason}")
    return DAMAGED if result.failed else OK


def _size(size: int) -> str:
    return human(size) if sys.stdout.isatty() else f"{size} bytes"

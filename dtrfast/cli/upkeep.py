"""`dtrfast verify`, `gc` and `df`: check the store, free space, and show disk usage."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from typing import Annotated, Any

from cyclopts import Parameter

from dtrfast.cli import progress
from dtrfast.cli.accounts import At
from dtrfast.cli.api_client import Api, connect
from dtrfast.cli.command_events import note
from dtrfast.cli.exit_status import DAMAGED, OK
from dtrfast.cli.figures import human, whole_seconds
from dtrfast.cli.opening import opened
from dtrfast.cli.options import AMOUNT, HERE, ConfigFile, Data, Json
from dtrfast.cli.output import finish, remark, show_json, show_rows
from dtrfast.cli.progress import Meter
from dtrfast.cli.reclaiming import reclaim, waiting
from dtrfast.cli.tables import write_figures
from dtrfast.config import Config, load
from dtrfast.jobs.tasks import empty_trash
from dtrfast.machine import privacy
from dtrfast.registry.registry import Registry
from dtrfast.store.store import Store
from dtrfast.times import rfc3339

_FINDINGS_MAX = 1000
_USAGE_COLUMNS = (
    "name",
    "logicalBytes",
    "storedBytes",
    "uniqueBytes",
    "sharedBytes",
    "freedBytes",
    "isExact",
)
# The figures of the whole registry: their names for people, as in the console, and the fields of
# the API.
_WHOLE = {
    "size of all images": "logicalBytes",
    "saved by equal blobs": "equalBlobsBytes",
    "saved by equal chunks": "equalChunksBytes",
    "saved by compression": "compressionBytes",
    "overhead": "overheadBytes",
    "on disk": "storedBytes",
    "only in the trash": "trashBytes",
    "freed so far": "freedBytes",
    "disk": "diskBytes",
    "disk free": "diskFreeBytes",
    "reserved, not for pushes": "reserveBytes",
}


# ---- verify ----------------------------------------------------------------------------------
def verify(
    *,
    deep: Annotated[
        bool, Parameter(help="Also read all blobs, and mark damaged ones.", negative="")
    ] = False,
    config: ConfigFile = None,
    data: Data = None,
    json: Json = False,
) -> int:
    """Check that the index is sound and its files exist. Works beside a running server.

    Exit status 3: there is damage.
    """
    settings = load(config, os.environ, {"store.data": data})
    findings = _Findings()
    with opened(settings) as store, progress.shown("check the index") as meter:
        registry = Registry(store.engine, store.blobs, settings)
        store.verify(registry.are_kept, meter, findings.add)
        registry.verify(meter, findings.add)
        if deep:
            _read_everything(store, meter)
        damaged = store.statistics()
    is_clean = not findings.texts and not damaged.damaged_blobs and not damaged.damaged_chunks
    document = {
        "isSound": is_clean,
        "findings": findings.texts,
        "damagedBlobs": damaged.damaged_blobs,
        "damagedChunks": damaged.damaged_chunks,
    }
    lines = [*findings.texts]
    if damaged.damaged_blobs or damaged.damaged_chunks:
        lines.append(
            f"{damaged.damaged_blobs} blobs and {damaged.damaged_chunks} chunks are damaged;"
            " a push of the same content repairs them (the log names them)"
        )
    lines.append("the store is sound" if is_clean else f"found {len(findings.texts)} problems")
    finish(document, lines, is_json=json)
    for problem in privacy.exposures(settings.store.data):
        remark(problem)
    return OK if is_clean else DAMAGED


def _read_everything(store: Store, meter: Meter) -> None:
    """Read all content, and mark what is damaged."""
    held = store.statistics()
    contents = held.loose_bytes + held.chunked_bytes + held.inline_bytes + held.recreated_bytes
    total = held.pack_bytes + contents
    done = 0
    meter.wait("read all blobs")
    for count in store.check_contents():
        done += count
        meter.bytes(done, total)
    meter.wait("find the blobs of damaged chunks")
    store.trace_damage()


class _Findings:
    """The first findings of a check, as many as an administrator would read."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, finding: str) -> None:
        if len(self.texts) < _FINDINGS_MAX:
            self.texts.append(finding)
        elif len(self.texts) == _FINDINGS_MAX:
            self.texts.append("… and more")


# ---- gc ----------------------------------------------------------------------------------------
def gc(
    *,
    trash: Annotated[
        bool, Parameter(help="First delete everything in the trash for good.", negative="")
    ] = False,
    wait: Annotated[
        float, AMOUNT, Parameter(help="Seconds to wait for things that are in use.")
    ] = 60.0,
    config: ConfigFile = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Free unused space now, and show its size. A running server does this all the time."""
    settings = load(config, os.environ, {"store.data": data})
    with opened(settings) as store, progress.shown("free unused space") as meter:
        registry = Registry(store.engine, store.blobs, settings)
        before = store.statistics().freed_bytes
        if trash:
            _empty_trash(store, registry, settings, meter)
        pending = reclaim(store, registry, settings, wait, meter)
        freed = store.statistics().freed_bytes - before
        in_grace, ends_at = registry.in_grace()
    until = rfc3339(ends_at) if in_grace else ""
    document = {
        "freedBytes": freed,
        "inGrace": in_grace,
        "firstGraceEndsAt": until,
        "pending": pending,
    }
    lines = [f"freed {human(freed) if sys.stdout.isatty() else f'{freed} bytes'}"]
    if in_grace:
        lines.append(
            f"{in_grace} unreferenced blobs are in their grace; the first grace ends at"
            f" {whole_seconds(until)}"
        )
    finish(document, [*lines, *waiting(pending)], is_json=json)


def _empty_trash(store: Store, registry: Registry, config: Config, meter: Meter) -> None:
    emptied = 0
    empty = partial(empty_trash, store.engine, registry.holdings, all_of_it=True)
    while count := empty(int(time.time())):
        emptied += count
        meter("empty the trash", emptied)
    note(config, "trash.empty", {"count": emptied})


# ---- df ----------------------------------------------------------------------------------------
def df(*names: str, at: At = HERE) -> None:
    """Show the disk usage of the whole registry, or of each NAMESPACE, REPOSITORY, REPOSITORY:TAG
    or REPOSITORY@DIGEST. A name of one part is a namespace.
    """
    with connect(at) as api:
        if not names:
            whole = api.call("GET", "admin", "storage", query={"trash": "true"})
            if at.json:
                show_json(whole)
            else:
                write_figures({f"{label} bytes": whole[key] for label, key in _WHOLE.items()})
            return
        with progress.shown("measure") as meter:
            measured: list[dict[str, Any]] = []
            for name in names:
                meter(f"measure {name}", len(measured), len(names))
                measured.append(_measure(api, name))
    if at.json:
        show_json(measured)
    else:
        show_rows(measured, _USAGE_COLUMNS, is_wide=at.wide)


def _measure(api: Api, name: str) -> Any:
    path, at, digest = name.partition("@")
    repository, colon, tag = path.rpartition(":") if ":" in path else (path, "", "")
    namespace, slash, rest = (repository if colon else path).partition("/")
    reference = digest if at else tag
    if reference:
        pieces = ("repositories", namespace if slash else "_", rest if slash else namespace)
        return api.call("GET", *pieces, "manifests", reference, "usage")
    if slash:
        return api.call("GET", "repositories", namespace, rest, "usage")
    return api.call("GET", "repositoryNamespaces", namespace, "usage")

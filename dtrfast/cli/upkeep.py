"""`dtrfast verify`, `gc` and `df`: check the store, free space, and show disk usage."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from functools import partial
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from dtrfast.cli.accounts import At
from dtrfast.cli.api_client import HERE, Api, connect
from dtrfast.cli.command_events import note
from dtrfast.cli.opening import opened
from dtrfast.cli.options import AMOUNT, ConfigFile, Data
from dtrfast.cli.output import say, show_json
from dtrfast.cli.stats import human
from dtrfast.config import Config, load
from dtrfast.jobs.tasks import empty_trash, housekeeping
from dtrfast.machine import locks, privacy
from dtrfast.registry.registry import Registry
from dtrfast.store.store import Store
from dtrfast.times import rfc3339

_FINDINGS_MAX = 1000
_POLL_SECONDS = 0.5


# ---- verify ----------------------------------------------------------------------------------
def verify(
    *,
    deep: Annotated[
        bool, Parameter(help="Also read all blobs, and mark damaged ones.", negative="")
    ] = False,
    config: ConfigFile = None,
    data: Data = None,
) -> int:
    """Check that the index is sound and its files exist. Works beside a running server."""
    settings = load(config, os.environ, {"store.data": data})
    findings = _Findings()
    with opened(settings) as store, _bar() as bar:
        rows = _ProgressRows(bar)
        registry = Registry(store.engine, store.blobs, settings)
        store.verify(registry.are_kept, rows, findings.add)
        registry.verify(rows, findings.add)
        if deep:
            held = store.statistics()
            total = held.pack_bytes + held.loose_bytes + held.chunked_bytes + held.inline_bytes
            row = bar.add_task("bytes", total=total, done="")
            done = 0
            for count in store.check_contents():
                done += count
                bar.update(row, completed=done, done=f"{human(done)} of {human(total)}")
            store.trace_damage()
        damaged = store.statistics()
    for finding in findings.texts:
        say(finding)
    if damaged.damaged_blobs or damaged.damaged_chunks:
        say(
            f"{damaged.damaged_blobs} blobs and {damaged.damaged_chunks} chunks are damaged;"
            " a push of the same content repairs them (the log names them)"
        )
    is_clean = not findings.texts and not damaged.damaged_blobs and not damaged.damaged_chunks
    for problem in privacy.exposures(settings.store.data):
        say(problem)
    say("the store is sound" if is_clean else f"found {len(findings.texts)} problems")
    return 0 if is_clean else 1


class _Findings:
    """The first findings of a check, as many as an administrator would read."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, finding: str) -> None:
        if len(self.texts) < _FINDINGS_MAX:
            self.texts.append(finding)
        elif len(self.texts) == _FINDINGS_MAX:
            self.texts.append("… and more")


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        TextColumn("{task.fields[done]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


class _ProgressRows:
    """Shows the progress of a check: a row for each of its parts."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._rows: dict[str, Any] = {}

    def __call__(self, part: str, done: int, total: int) -> None:
        if part not in self._rows:
            self._rows[part] = self._bar.add_task(part, total=None, done="")
        row = self._rows[part]
        self._bar.update(row, completed=done, total=total or None, done=f"{done:,}")


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
) -> int:
    """Free unused space now, and show its size. A running server does this all the time."""
    settings = load(config, os.environ, {"store.data": data})
    with opened(settings) as store:
        registry = Registry(store.engine, store.blobs, settings)
        before = store.statistics().freed_bytes
        if trash:
            emptied = 0
            empty = partial(empty_trash, store.engine, registry.holdings, all_of_it=True)
            while count := empty(int(time.time())):
                emptied += count
            note(settings, "trash.empty", {"count": emptied})
        pending = _reclaim(store, registry, settings, wait)
        freed = store.statistics().freed_bytes - before
        waiting, ends_at = registry.in_grace()
    say(f"freed {human(freed)} ({freed} bytes)")
    if waiting:
        until = rfc3339(ends_at)
        say(f"{waiting} unreferenced blobs are in their grace; the first grace ends at {until}")
    for name, count in pending.items():
        say(f"{count} {name} wait, since uploads or a backup may still need them")
    return 0


def _reclaim(
    store: Store, registry: Registry, config: Config, wait_seconds: float
) -> dict[str, int]:
    """Wait until nothing is due to be freed. Runs the tasks here unless a server runs them.

    Returns the numbers of things that still wait, counted while no other process begins to free.
    """
    with ExitStack() as stack:
        descriptor = locks.try_housekeeper(config.store.data)
        tasks = []
        if descriptor is not None:  # no server runs on this data directory
            stack.callback(os.close, descriptor)
            tasks = housekeeping(store, config, stack)
        deadline = time.monotonic() + wait_seconds
        while any(_pending(store, registry).values()) and time.monotonic() < deadline:
            for task in tasks:
                task.run()
            if not tasks:
                time.sleep(_POLL_SECONDS)
        return {name: count for name, count in _pending(store, registry).items() if count}


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
                _print_whole(whole)
            return
        measured = [_measure(api, name) for name in names]
    if at.json:
        show_json(measured)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", overflow="fold")
    columns = ("logical", "stored", "unique", "shared", "freed")
    for column in (*columns, "change"):
        table.add_column(column, justify="right")
    for one in measured:
        sizes = [human(one[f"{column}Bytes"]) for column in columns]
        exact = "" if one["isExact"] else "~"
        table.add_row(one["name"], *sizes, f"{exact}{one['changeNumber']}")
    Console().print(table)


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


def _print_whole(whole: dict[str, Any]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    rows = {
        "pushed by clients": "logicalBytes",
        "stored on disk": "storedBytes",
        "saved by sharing": "sharedBytes",
        "only in the trash": "trashBytes",
        "freed so far": "freedBytes",
        "disk": "diskBytes",
        "disk free": "diskFreeBytes",
        "reserved, not for pushes": "reserveBytes",
    }
    for label, key in rows.items():
        table.add_row(label, human(whole[key]))
    Console().print(table)


def _pending(store: Store, registry: Registry) -> dict[str, int]:
    """Return, for each kind of thing that is due to be freed, the number that waits."""
    return {**registry.pending(), **store.pending()}

"""The embedded store. Each process opens it once and closes it at its end."""

from __future__ import annotations

import math
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Self

from dtrfast.config import StoreConfig
from dtrfast.errors import FormatUnknown
from dtrfast.index.changes import ChangeRecord
from dtrfast.index.engine import Engine, Table, WriteTransaction
from dtrfast.index.lmdb import LmdbEngine
from dtrfast.index.tables import TABLES
from dtrfast.machine import disk
from dtrfast.machine.boot import read_boot_id
from dtrfast.machine.paths import Layout
from dtrfast.oci.digests import Digest
from dtrfast.store import (
    change_log,
    damage,
    data_directory,
    rebuild,
    reclaim,
    scrub,
    statistics,
    store_identity,
    upgrade,
    verify,
)
from dtrfast.store.blobs import BlobStore, IsHeld
from dtrfast.store.buffers import Buffers
from dtrfast.store.change_log import ChangeLog
from dtrfast.store.chunk_files import ChunkFiles
from dtrfast.store.compaction import Compaction
from dtrfast.store.context import StoreContext
from dtrfast.store.counting import BlobCounts
from dtrfast.store.features import Features
from dtrfast.store.ids import Ids
from dtrfast.store.limits import CurrentLimits, StoreLimits
from dtrfast.store.local import LocalBlobs
from dtrfast.store.rebuild import Rebuild
from dtrfast.store.recalls import Recalls
from dtrfast.store.report import StoreReport
from dtrfast.store.scrub import Scrub
from dtrfast.store.second_thread import SecondThread
from dtrfast.store.space import Space
from dtrfast.store.statistics import StoreStatistics
from dtrfast.store.sweep import Sweep
from dtrfast.store.tasks import Task
from dtrfast.store.tier import status, tidying
from dtrfast.store.tier.replay_pool import ReplayPool
from dtrfast.store.tier.run import TierRun, TierStep
from dtrfast.store.tier.status import TierFigure
from dtrfast.store.upgrade import Upgrade
from dtrfast.store.verify import Progress, Tell

_MINUTE = 60.0

# Opens the index in a directory, or creates one there, with these tables.
OpenIndex = Callable[[Path, Sequence[Table]], Engine]


def _now() -> int:
    return int(time.time())


def _upgrade(layout: Layout, *, may_upgrade: bool) -> None:
    features = data_directory.read_features(layout)
    if not features.is_older:
        return
    if not may_upgrade:
        raise FormatUnknown(
            f"{layout.data} was last used by an older dtrfast: start this one's server there once,"
            " or use the older one's commands"
        )
    data_directory.replace_features(layout, features.upgraded())


def _note_tier(layout: Layout, engine: Engine) -> None:
    """Note in the format that layers have replay recipes, if a restored index has some."""
    features = data_directory.read_features(layout)
    if not features.has_tier and not status.is_unused(engine):
        data_directory.replace_features(layout, features.with_tier(has=True))


def _context(
    engine: Engine,
    layout: Layout,
    store_id: uuid.UUID,
    boot_id: str,
    config: StoreConfig,
    clock: Callable[[], int],
) -> StoreContext:
    limits = CurrentLimits()
    return StoreContext(
        engine=engine,
        layout=layout,
        store_id=store_id,
        boot_id=boot_id,
        buffers=Buffers(),
        second_thread=SecondThread(),
        limits=limits,
        space=Space(limits, layout),
        chunk_files=ChunkFiles(engine, layout),
        chunk_ids=Ids(engine, b"chunk_id"),
        numbers=Ids(engine, b"number"),
        recalls=Recalls.open(layout.recalls),
        replay_pool=ReplayPool(),
        clock=clock,
        # Rounded up, so that less than a second does not become 0.
        upload_expiry_seconds=math.ceil(config.upload_expiry_seconds),
        grace_seconds=math.ceil(config.grace_seconds),
    )


class Store:
    """Index and blobs of one data directory.

    Many processes may have it open. One of them, the housekeeper, runs `tasks`.
    """

    def __init__(self, context: StoreContext) -> None:
        self._context = context
        self.engine = context.engine
        self.layout = context.layout
        self.id = context.store_id
        self.blobs: BlobStore = LocalBlobs(context)
        self.blob_counts = BlobCounts()
        self.report = StoreReport(self.engine)
        self.change_log = ChangeLog(context.layout.log)

    @classmethod
    def open(
        cls,
        data: Path,
        config: StoreConfig,
        *,
        open_index: OpenIndex = LmdbEngine,
        boot_id: str | None = None,
        clock: Callable[[], int] = _now,
        may_upgrade: bool = True,
    ) -> Self:
        """Open the store in `data`, or create one there.

        A store of an older version is upgraded. That takes no time, because its rows are changed
        later, by a task.

        Raises `FormatUnknown`, `FileSystemUnsupported`, `StorageFull`, `StorageFailed`, `Corrupt`.
        """
        layout = Layout(data)
        named = data_directory.prepare(layout)
        if named is not None:
            _upgrade(layout, may_upgrade=may_upgrade)
        engine = open_index(layout.index, TABLES)
        try:
            store_id = store_identity.identify(engine, named)
            if named is None:
                engine.write(upgrade.mark_done)
                data_directory.write_format(layout, store_id)
            _note_tier(layout, engine)
        except BaseException:
            engine.close()
            raise
        boot_id = read_boot_id() if boot_id is None else boot_id
        return cls(_context(engine, layout, store_id, boot_id, config, clock))

    @classmethod
    def begin_repair(
        cls,
        data: Path,
        config: StoreConfig,
        *,
        open_index: OpenIndex = LmdbEngine,
        clock: Callable[[], int] = _now,
    ) -> Self:
        """Open the store in `data` with a new, empty index, which is valid only after `end_repair`.

        Raises `FormatUnknown`, and `StartRefused` if the store has a complete index.
        """
        layout = Layout(data)
        store_id = data_directory.prepare(layout)
        if store_id is None:
            raise FormatUnknown(f"{data} is not a store: there is nothing to repair")
        open_ours = partial(open_index, layout.index, TABLES)
        store_identity.clear_unfinished(layout.index, open_ours)
        engine = open_ours()
        boot_id = read_boot_id()
        return cls(_context(engine, layout, store_id, boot_id, config, clock))

    @staticmethod
    @contextmanager
    def make_index(data: Path, *, open_index: OpenIndex = LmdbEngine) -> Iterator[Engine]:
        """Replace the index by a new one, which is open for the length of the block.

        For a restore, whose directory is not a store yet.
        """
        directory = Layout(data).index
        with disk.reported():
            shutil.rmtree(directory)
            directory.mkdir(mode=0o700)
        engine = open_index(directory, TABLES)
        try:
            yield engine
        finally:
            engine.close()

    @staticmethod
    def list_unheld(engine: Engine, is_held: IsHeld) -> None:
        """List the contents in a new index that no repository holds, so that they are freed."""
        reclaim.list_unheld(engine, is_held, _now())

    @staticmethod
    def read_features(data: Path) -> Features:
        """Read the features that the store in `data` uses. Raises `FormatUnknown`."""
        return data_directory.read_features(Layout(data))

    @staticmethod
    def write_features(data: Path, features: Features) -> None:
        """Write the features that the store in `data` has from now on.

        No process may have it open.
        """
        data_directory.replace_features(Layout(data), features)

    def rebuild(self, tell: Callable[[str], None], progress: Callable[[int], None]) -> Rebuild:
        """Return the rebuild of the local tables, for a repair."""
        return Rebuild(self._context, tell, progress)

    def changes(self) -> Iterator[ChangeRecord]:
        """The changes in the change log, oldest first."""
        return change_log.read(self._context.layout.log)

    def add_inline(self, body: bytes, now: int) -> None:
        """Add an inline content from the change log, in a repair."""
        rebuild.add_inline(self._context, body, now)

    def add_sha512_names(self, wanted: set[bytes]) -> None:
        """Name the contents with these SHA-512 digests, in a repair."""
        rebuild.add_sha512_names(self._context, wanted)

    def end_repair(self) -> None:
        """Make the new index the store's, and the store one of this version."""
        _upgrade(self.layout, may_upgrade=True)
        store_identity.adopt(self.engine, self._context.store_id)

    def set_limits(self, read: Callable[[], StoreLimits]) -> None:
        """Set the function that reads the present limits. It opens a transaction of its own."""
        self._context.limits.read = read

    def tasks(self, is_held: IsHeld) -> list[Task]:
        """Return the tasks of the housekeeper."""
        context = self._context
        sweep = Sweep(context)
        return [
            Task(
                "unlinked contents",
                5.0,
                partial(reclaim.reclaim_contents, context, is_held),
                eager=True,
            ),
            Task("unfinished conversions", 30.0, partial(tidying.remove_unfinished, context)),
            Task("sparse packs", 5.0, Compaction(context).step, eager=True),
            Task("damaged chunks", 5.0, partial(damage.trace, context)),
            Task("scrub", 0.25, Scrub(context).step),
            Task("upgrade", 60.0, Upgrade(context).step, eager=True),
            Task("expired uploads", _MINUTE, partial(reclaim.expire_uploads, context)),
            Task("finished uploads", 5.0, partial(reclaim.forget_finished, context)),
            Task("sweep after a power cut", 0.1, sweep.step),
            Task("tidy index", _MINUTE, self.engine.tidy),
        ]

    # ---- the gzip tier -----------------------------------------------------------------------
    def tier_figures(self) -> list[TierFigure]:
        """Return the layers and their bytes by encoder and state."""
        return status.measure(self._context)

    def convert_layers(
        self, run: TierRun, only: Collection[Digest] | None, *, with_first: bool
    ) -> Iterator[TierStep]:
        """See `TierRun.convert`."""
        features = data_directory.read_features(self.layout)
        if not features.has_tier:
            data_directory.replace_features(self.layout, features.with_tier(has=True))
        try:
            yield from run.convert(only, with_first=with_first)
        finally:
            _note_tier(self.layout, self.engine)  # an expansion may have removed it meanwhile

    def expand_layers(self, run: TierRun) -> Iterator[TierStep]:
        """See `TierRun.expand`. After it, versions without the tier can open the store."""
        yield from run.expand()
        if status.is_unused(self.engine):
            features = data_directory.read_features(self.layout)
            data_directory.replace_features(self.layout, features.with_tier(has=False))

    def tier_run(self) -> TierRun:
        """Return a new run of the gzip tier."""
        return TierRun(self._context)

    def pending(self) -> dict[str, int]:
        """Count the rows that wait to be reclaimed, by kind; up to a thousand of each."""
        return reclaim.pending(self._context)

    def verify(self, is_held: IsHeld, progress: Progress, tell: Tell) -> None:
        """Check the local index and its files, and that all content is held or waits for reclaim.

        `tell` gets a sentence for each fault.
        """
        verify.verify(self._context, is_held, progress, tell)

    def check_contents(self) -> Iterator[int]:
        """Check all packs and contents, and mark damage. Yields the size of each read in bytes."""
        return scrub.everything(self._context)

    def trace_damage(self) -> int:
        """Mark the blobs that have damaged chunks; return their number."""
        return damage.trace(self._context)

    def statistics(self) -> StoreStatistics:
        """Return counts and sizes at this moment."""
        return self.report.statistics()

    def count_links(self, transaction: WriteTransaction, links: int, linked_bytes: int) -> None:
        """Add to the counts of links that versions before 1.4 keep here. See `jobs.adoption`."""
        statistics.add(transaction, old_links=links, old_linked_bytes=linked_bytes)

    def commits(self) -> tuple[int, int, float]:
        """Return this process's group commits, the changes in them, and the seconds they took."""
        figures = self.engine.figures()
        return figures.commits, figures.changes, figures.commit_seconds

    def index_size(self) -> int:
        """Return the size of the index in bytes."""
        return self.engine.figures().size_bytes

    def tidy(self) -> None:
        """Close files that other processes unlinked. Every process calls it some times a minute."""
        self._context.chunk_files.drop_unlinked()

    def close(self) -> None:
        """Release all files. No request may be running."""
        self.change_log.close()
        self._context.second_thread.close()
        self._context.replay_pool.close()
        self._context.chunk_files.close()
        self._context.recalls.close()
        self.engine.close()

"""Proofs of the settings of storage, and of the server's settings of its store."""

from __future__ import annotations

import os
import random
from functools import partial
from types import SimpleNamespace

import msgspec

from dtrfast.config import Config, StoreConfig
from dtrfast.errors import StorageFull
from dtrfast.index.tables import SETTINGS
from dtrfast.jobs.tasks import content_tasks, empty_trash
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import policies, policing
from dtrfast.registry.registry import Registry
from dtrfast.store.scrub import Scrub
from dtrfast.store.store import Store
from tests.api.managed.test_deletion import delete, image, put
from tests.api.managed.town import Town, in_memory
from tests.fakes.clock import Clock
from tests.settings.application import open_application
from tests.settings.proof import Bench, proves
from tests.store.conftest import push, run

_DAY = policies.DAY_SECONDS


def _town(bench: Bench, **fields: object) -> Town:
    town = bench.stack.enter_context(in_memory())
    town.api("admin", "PUT", "admin/settings/storage", fields)
    return town


def _store(bench: Bench, clock: Clock, config: StoreConfig) -> Store:
    store = Store.open(bench.folder / "data", config, clock=clock)
    bench.stack.callback(store.close)
    return store


def _store_with(bench: Bench, clock: Clock, **fields: object) -> Store:
    """Return a store with these settings of the administrator."""
    store = _store(bench, clock, StoreConfig())
    data = msgspec.json.encode(policies.StorageSettings(**fields))  # type: ignore[arg-type]
    store.engine.write(lambda transaction: transaction.put(SETTINGS, policies.NAME, data))
    store.set_limits(partial(policies.read_limits, store.engine))
    return store


@proves("storage.trashDays", (1, 1), (2, 0))
def empties_the_trash(bench: Bench, value: object) -> object:
    town = _town(bench, trashDays=value)
    delete(town, put(town, image("gone")))
    holdings, now = town.registry.holdings, town.clock() + _DAY + _DAY // 2
    return empty_trash(town.engine, holdings, now)


@proves("storage.untaggedDays", (1, 1), (0, 0))
def deletes_untagged(bench: Bench, value: object) -> object:
    town = _town(bench, untaggedDays=value)
    put(town, image("untagged"))
    return policing.step(town.engine, town.clock() + 2 * _DAY)


def _scrubbed(bench: Bench, **fields: object) -> int:
    """Return the bytes that a scrub reads in a tenth of a second, two days after a push."""
    clock, times = Clock(), iter((0.0, *[0.1] * 100))
    store = _store_with(bench, clock, **fields)
    for seed in range(8):
        push(store.blobs, b"\x1f\x8b" + random.Random(seed).randbytes(400_000))
    clock.now += 2 * _DAY
    return Scrub(store._context, lambda: next(times)).step()


@proves("storage.scrubDays", (1, True), (0, False))
def scrubs(bench: Bench, value: object) -> object:
    return _scrubbed(bench, scrub_days=value) > 0


@proves("storage.scrubBytesPerSecond", (1 << 20, True), (1 << 30, False))
def scrubs_as_fast(bench: Bench, value: object) -> object:
    return _scrubbed(bench, scrub_bytes_per_second=value) < 3_200_000


@proves("storage.reserveBytes", (0, "taken"), (1 << 30, "refused"))
def keeps_free(bench: Bench, value: object) -> object:
    """The file system has 4 MB, of which 100 KB are free. At most a twentieth can be reserved."""
    store = _store_with(bench, Clock(), reserve_bytes=value)
    status = SimpleNamespace(f_blocks=1000, f_bfree=25, f_bavail=25, f_frsize=4096, f_files=0)
    with bench.patch.context() as patch:
        patch.setattr(os, "statvfs", lambda path: status)
        try:
            store._context.space.check()
        except StorageFull:
            return "refused"
        return "taken"


# ---- settings of the server --------------------------------------------------------------------
@proves("store.upload_expiry_seconds", (60.0, 1), (120.0, 0))
def drops_uploads(bench: Bench, value: object) -> object:
    config = StoreConfig(upload_expiry_seconds=value)  # type: ignore[arg-type]
    clock = Clock()
    store = _store(bench, clock, config)
    store.blobs.begin("some/name").release()
    state = next((bench.folder / "data" / "uploads").glob("*.state"))
    clock.now = int(state.stat().st_mtime) + 90
    return run(store, "expired uploads")


@proves("store.grace_seconds", (60.0, 0), (120.0, 1))
def keeps_unused_blobs(bench: Bench, value: object) -> object:
    clock = Clock()
    config = Config(store=StoreConfig(grace_seconds=value))  # type: ignore[arg-type]
    store = _store(bench, clock, config.store)
    registry = Registry(store.engine, store.blobs, config, clock=clock, fullness=lambda: 0.0)
    name, body = RepositoryName.parse("some/name"), b"unused"
    upload = registry.uploads.begin(name)
    upload.append(body)
    registry.uploads.finish(upload, name, Digest.of_bytes(body), registry.author())
    clock.now += 90
    tasks = content_tasks(store, registry.holdings)
    next(task for task in tasks if task.name == "unreferenced blobs").run()
    return store.statistics().blobs


@proves("store.data", ("here", ["here"]), ("there", ["there"]))
def lies_where_it_is_told(bench: Bench, value: object) -> object:
    path = bench.folder / str(value)
    open_application(bench, Config(store=StoreConfig(data=path)))
    return [one.name for one in bench.folder.iterdir()]

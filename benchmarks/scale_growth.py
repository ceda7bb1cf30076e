"""Growth of costs with the store: the same work on stores of three sizes, in turns.

    python -m benchmarks.scale_growth DIRECTORY

makes missing stores below DIRECTORY (6 minutes and 8 GB). Then it prints for each kind of work the
latency on one connection and the server's CPU time. The server has one worker, so that each page of
the index is new to it only once. Reading work makes the same requests in each round, and the first
round is shown separately. Pushes use new content each time, and it stays in the stores.
"""

from __future__ import annotations

import hashlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import load
from benchmarks.load import Body, Framing, Job, Push, Request
from benchmarks.peers.dtrfast import Dtrfast
from benchmarks.peers.peer import Server, Start
from benchmarks.processes import memory
from benchmarks.scale import BASE, TENFOLD, THOUSANDFOLD, LargeStore, large_store
from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import OCI_MANIFEST

SCALES = (BASE, TENFOLD, THOUSANDFOLD)
_ROUNDS = 5
_REQUESTS = 2_000
_PUSHES = 40
_SEARCHES = 20
_PAGE = 50  # the smallest store has a hundred tags and repositories: every page is a full one
_LAYER_SIZE = 65_536
_TAR_SIZE = 32 << 20
_SEED = 7  # of random requests
_WIDTH = 120


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one kind of work on one store."""

    p50: float
    p99: float
    cpu_seconds: float  # of the server, per job


@dataclass(frozen=True, slots=True)
class Site:
    """A store and its running server."""

    store: LargeStore
    server: Server


# ---- kinds of work: jobs for a store, new ones at each call ----------------------------------
def _manifests(store: LargeStore, scratch: Path) -> list[Job]:
    images = store.images(_REQUESTS, seed=_SEED)
    return [_get(f"/v2/{i.repository}/manifests/{i.tag}") for i in images]


def _layers(store: LargeStore, scratch: Path) -> list[Job]:
    images = store.images(_REQUESTS, seed=_SEED)
    return [_get(f"/v2/{i.repository}/blobs/{i.layers[-1]}", "HEAD") for i in images]


def _missing(store: LargeStore, scratch: Path) -> list[Job]:
    images = store.images(_REQUESTS, seed=_SEED)
    paths = [f"/v2/{i.repository}/blobs/{Digest.of_bytes(b'missing')}" for i in images]
    return [Job((Request("HEAD", path, expect=(404,)),)) for path in paths]


def _configs(store: LargeStore, scratch: Path) -> list[Job]:
    images = store.images(_REQUESTS, seed=_SEED)
    return [_get(f"/v2/{i.repository}/blobs/{i.config_digest}") for i in images]


def _tag_pages(store: LargeStore, scratch: Path) -> list[Job]:
    tags = store.tags()
    return _pages(f"/v2/{store.repository(0)}/tags/list", tags)


def _catalog_pages(store: LargeStore, scratch: Path) -> list[Job]:
    return _pages("/v2/_catalog", store.repositories())


def _searches(store: LargeStore, scratch: Path) -> list[Job]:
    """Searches without a result, which have to look at all names."""
    return [_get(f"/v1/search?q=nothing{number}") for number in range(_SEARCHES)]


def _pages(path: str, names: list[str]) -> list[Job]:
    choice = random.Random(_SEED)
    lasts = choice.choices(names[:-_PAGE], k=_REQUESTS // 10)
    return [_get(f"{path}?n={_PAGE}&last={last}") for last in lasts]


def _small_images(store: LargeStore, scratch: Path) -> list[Job]:
    """Return pushes of new images, each with a config, a gzip layer and a manifest."""
    layers = scratch / "layers"
    layers.write_bytes(b"".join(b"\x1f\x8b" + os.urandom(_LAYER_SIZE - 2) for _ in range(_PUSHES)))
    configs = scratch / "configs"
    configs.write_bytes(os.urandom(1024 * _PUSHES))
    return [
        _image_push(image.repository, Body(configs, n * 1024, 1024), _body(layers, n))
        for n, image in enumerate(store.images(_PUSHES, seed=_SEED))
    ]


def _body(file: Path, number: int) -> Body:
    return Body(file, number * _LAYER_SIZE, _LAYER_SIZE)


def _image_push(repository: str, config: Body, layer: Body) -> Job:
    pushes = [
        Push(repository, _digest(body), body, Framing.LENGTH, head_first=True)
        for body in (config, layer)
    ]
    named = [
        {"mediaType": "application/octet-stream", "digest": push.digest, "size": push.body.size}
        for push in pushes
    ]
    manifest = {"schemaVersion": 2, "config": named[0], "layers": named[1:]}
    put = Request(
        "PUT",
        f"/v2/{repository}/manifests/pushed",
        expect=(201,),
        headers=(("Content-Type", OCI_MANIFEST),),
        body=msgspec.json.encode(manifest),
    )
    return Job((*pushes, put))


def _new_tar(store: LargeStore, scratch: Path) -> list[Job]:
    """Return a push of new chunkable bytes."""
    tar = scratch / "tar"
    tar.write_bytes(os.urandom(_TAR_SIZE))
    return [_tar_push(store, tar)]


def _changed_tar(store: LargeStore, scratch: Path) -> list[Job]:
    """Return a push of the last tar after some new bytes: only its first chunks are new."""
    changed = scratch / "changed"
    changed.write_bytes(os.urandom(_LAYER_SIZE) + (scratch / "tar").read_bytes())
    return [_tar_push(store, changed)]


def _tar_push(store: LargeStore, tar: Path) -> Job:
    body = Body(tar)
    return Job((Push(store.repository(0), _digest(body), body, Framing.LENGTH),))


def _digest(body: Body) -> str:
    with body.file.open("rb") as file:
        file.seek(body.offset)
        return f"sha256:{hashlib.sha256(file.read(body.size)).hexdigest()}"


def _get(path: str, method: str = "GET") -> Job:
    return Job((Request(method, path),))


Work = Callable[[LargeStore, Path], list[Job]]
WORKS: dict[str, Work] = {
    "manifest GET by tag": _manifests,
    "layer HEAD": _layers,
    "missing blob HEAD": _missing,
    "config GET": _configs,
    f"page of {_PAGE} tags": _tag_pages,
    f"page of {_PAGE} repositories": _catalog_pages,
    "search": _searches,
    "push of a small image": _small_images,
    "push of 32 MiB, all new": _new_tar,
    "push of 32 MiB, known but for 64 KiB": _changed_tar,
}


# ---- measuring -------------------------------------------------------------------------------
def _start(store: LargeStore) -> tuple[Server, float]:
    """Start a server on the store. Returns it and the seconds until its first answer."""
    began = time.monotonic()
    server = Dtrfast().start(Start(store.home, workers=1))
    server.wait_ready()
    return server, time.monotonic() - began


def _start_seconds(store: LargeStore) -> float:
    server, seconds = _start(store)
    server.stop()
    return seconds


def _stats_seconds(store: LargeStore) -> float:
    command = [sys.executable, "-m", "dtrfast", "stats", "--data", str(store.data)]
    began = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def _sample(site: Site, work: Work, scratch: Path) -> Sample:
    jobs = work(site.store, scratch)
    with site.server.watched() as cost:
        result = load.run(site.server.address, jobs, connections=1)
    if result.total.errors:
        raise SystemExit("; ".join(result.errors))
    latency = result.jobs["job"].latency
    return Sample(latency.p50, latency.p99, cost.cpu_seconds / len(jobs))


def _compare(sites: Sequence[Site], work: Work, folder: Path) -> list[list[Sample]]:
    """Return the samples of each site, taken in turns."""
    samples: list[list[Sample]] = [[] for _ in sites]
    for _ in range(_ROUNDS):
        for site, taken in zip(sites, samples, strict=True):
            scratch = folder / site.store.scale.name
            scratch.mkdir(exist_ok=True)
            taken.append(_sample(site, work, scratch))
    return samples


def _median(samples: Sequence[Sample]) -> Sample:
    return Sample(
        statistics.median(sample.p50 for sample in samples),
        statistics.median(sample.p99 for sample in samples),
        statistics.median(sample.cpu_seconds for sample in samples),
    )


# ---- the printed tables ----------------------------------------------------------------------
def _latencies(sites: Sequence[Site], folder: Path) -> Table:
    table = _table("ms", "tags", "first p50", "first p99", "p50", "p99", "CPU", "p50 grows")
    for name, work in WORKS.items():
        compared = _compare(sites, work, folder)
        smallest = _median(compared[0][1:]).p50
        for site, (first, *others) in zip(sites, compared, strict=True):
            usual = _median(others)
            times = (first.p50, first.p99, usual.p50, usual.p99, usual.cpu_seconds)
            cells = [f"{time * 1e3:.3f}" for time in times]
            growth = f"{usual.p50 / smallest:.2f}"
            table.add_row(name, f"{site.store.scale.tags:,}", *cells, growth)
    return table


def _processes(sites: Sequence[Site], starts: Sequence[float]) -> Table:
    table = _table("processes", "tags", "start s", "stats s", "resident MB", "anonymous MB")
    for site, start in zip(sites, starts, strict=True):
        used = memory(site.server.processes.pids())
        cells = (start, _stats_seconds(site.store), used.resident / 1e6, used.anonymous / 1e6)
        table.add_row("", f"{site.store.scale.tags:,}", *(f"{cell:,.2f}" for cell in cells))
    return table


def _table(*columns: str) -> Table:
    table = Table(*columns, box=None)
    for column in table.columns[1:]:
        column.justify = "right"
        column.no_wrap = True
    return table


def main(arguments: list[str]) -> int:
    """Print two tables. Returns the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m benchmarks.scale_growth DIRECTORY\n")
        return 2
    stores = [large_store(Path(arguments[0]), scale) for scale in SCALES]
    starts = [statistics.median(_start_seconds(store) for _ in range(_ROUNDS)) for store in stores]
    console = Console(width=_WIDTH)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=arguments[0])))
        sites = [Site(store, _start(store)[0]) for store in stores]
        for site in sites:
            stack.callback(site.server.stop)
        console.print(_latencies(sites, folder))
        console.print(_processes(sites, starts))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

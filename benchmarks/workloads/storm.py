"""A CI storm: many jobs push nearly equal images at once, then all images are pulled."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import Case, Measurement, Setup, Turn
from benchmarks.content.images import Image, images
from benchmarks.content.layers import Kind, layers
from benchmarks.disk import Place
from benchmarks.holdings import ACCEPT, Blob, Holding, push_of, put_of
from benchmarks.load import Framing, Job, Request
from benchmarks.peers.peer import Ability
from benchmarks.results import Sample, Unit

REPOSITORY = "ci/storm"
# Typical layers: four of six have less than 1 MB, one up to 10 MB, one more (a Debian base). The
# server has these before the storm.
_SHARED_SIZES = (28_000_000, 4_000_000, 600_000, 300_000, 100_000, 20_000)
_NEW_LAYERS = 2
_NEW_SIZE_MIN, _NEW_SIZE_MAX = 1_000_000, 5_000_000
_PULLS = 5
# Each of the 50 jobs has its own connection, so jobs do not wait for each other.
_CONNECTIONS = 50


def cases() -> Iterator[Case]:
    """Return the cases in memory and on a disk."""
    for place in Place:
        yield Case(
            name=f"storm/{place}",
            about=f"{_CONNECTIONS} CI jobs push an image each, then pull each {_PULLS} times",
            unit=Unit.IMAGES,
            measure=_measure,
            needs=frozenset({Ability.PUSH}),
            setup=Setup(place=place),
            writes=True,
            quick=place is Place.DISK,
        )


@dataclass(frozen=True, slots=True)
class Storm:
    """The layers that are stored before, and the images that the jobs push."""

    shared: tuple[Blob, ...]
    images: tuple[Image, ...]


def storm(folder: Path, count: int, salt: int) -> Storm:
    """Make `count` images of the shared layers and two new ones each."""
    shared = tuple(_single(folder / f"shared-{size}", size, salt) for size in _SHARED_SIZES)
    source = random.Random(f"storm {salt}")
    made = []
    for number in range(count):
        sizes = [source.randint(_NEW_SIZE_MIN, _NEW_SIZE_MAX) for _ in range(_NEW_LAYERS)]
        new = [
            _single(folder / f"new-{number}-{place}", size, salt + 1 + number * _NEW_LAYERS + place)
            for place, size in enumerate(sizes)
        ]
        made.append((*shared, *new))
    return Storm(shared, images(folder, made, [f"build-{n}" for n in range(count)], salt))


def _single(folder: Path, size: int, salt: int) -> Blob:
    folder.mkdir()
    return layers(folder, Kind.GZIP, 1, size, salt)[0]


def _measure(turn: Turn) -> Sample:
    count = turn.effort.storm_jobs
    made = turn.workshop.get(storm, count, turn.salt)
    turn.server.fill([Holding(REPOSITORY, made.shared)])
    pushes = turn.run([_push(image) for image in made.images], connections=_CONNECTIONS)
    pulls = turn.run([_pull(image) for image in made.images] * _PULLS, connections=_CONNECTIONS)
    return _sample(count, pushes, pulls)


def _push(image: Image) -> Job:
    """Return a push as docker does it: a HEAD for each layer first."""
    blobs = [push_of(REPOSITORY, blob, Framing.CHUNKED, head_first=True) for blob in image.blobs]
    return Job((*blobs, put_of(REPOSITORY, image.manifest)))


def _pull(image: Image) -> Job:
    base = f"/v2/{REPOSITORY}"
    manifest = Request("GET", f"{base}/manifests/{image.manifest.tag}", headers=ACCEPT)
    blobs = [Request("GET", f"{base}/blobs/{blob.digest}") for blob in image.blobs]
    return Job((manifest, *blobs))


def _sample(count: int, pushes: Measurement, pulls: Measurement) -> Sample:
    """Return the sample of both halves. Pushed and pulled images count alike."""
    done = count * (1 + _PULLS)
    first, second = pushes.sample(count), pulls.sample(count * _PULLS)
    pushed, pulled = pushes.result.jobs["job"].latency, pulls.result.jobs["job"].latency
    return first.plus(
        second,
        work=done,
        figures={
            "push_p99": pushed.p99,
            "pull_p99": pulled.p99,
            "pushed_images_per_second": count / first.seconds,
            "pulled_images_per_second": count * _PULLS / second.seconds,
        },
    )

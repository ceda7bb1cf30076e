"""A day of CI in a few seconds: mostly small reads, some pulls, few pushes, all concurrent.

Nine of ten requests read:

* 45 % of these ask for a manifest by tag; three of four clients have it already.
* 15 % ask for a manifest by digest.
* 15 % are HEAD of a blob.
* 20 % ask for a blob.
* 5 % ask for other resources.

The popularity of images follows Zipf's law. 65 % of the layers have less than 1 MB, 15 % up to
10 MB, the rest more. No layer has more than 32 MB here, which keeps turns short.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import Case, Setup, Turn
from benchmarks.content.images import Image, holding_of, images
from benchmarks.content.layers import Kind, digest_of, layers
from benchmarks.disk import Place
from benchmarks.holdings import ACCEPT, Blob, push_of, put_of
from benchmarks.load import Framing, Job, Request
from benchmarks.peers.peer import Ability
from benchmarks.results import Sample, Unit

REPOSITORY = "ci/day"
_CONNECTIONS = 32
_LAYERS = 4
_MB = 1_000_000
# Sizes of layers: percentage, from, to.
_SIZES = ((65, 10_000, _MB), (15, _MB, 10 * _MB), (20, 10 * _MB, 32 * _MB))
# The number of reading requests for each stored image, and the part of jobs that are pushes. A push
# has about five writing requests.
_READS_FOR_AN_IMAGE = 80
_READS_FOR_A_PUSH = 45


@dataclass(frozen=True, slots=True)
class Day:
    """The images that are stored at the start, and those that are pushed."""

    held: tuple[Image, ...]
    pushed: tuple[Image, ...]


def cases() -> Iterator[Case]:
    """Return the cases in memory and on a disk."""
    for place in Place:
        yield Case(
            name=f"day/{place}",
            about="a mixed day of CI: nine requests of ten read",
            unit=Unit.REQUESTS,
            measure=_measure,
            needs=frozenset({Ability.PUSH}),
            setup=Setup(place=place),
            writes=True,
        )


def day(folder: Path, count: int, salt: int) -> Day:
    """Make `count` images for the start, and a proportional number to push."""
    source = random.Random(f"day {salt}")
    pushes = count * _READS_FOR_AN_IMAGE // _READS_FOR_A_PUSH
    made: list[tuple[Blob, ...]] = []
    for number in range(count + pushes):
        first = salt + number * _LAYERS
        blobs = [_layer(folder / f"{number}-{n}", source, first + n) for n in range(_LAYERS)]
        if number >= count:  # built on a stored image: only one layer is new
            blobs[1:] = made[source.randrange(count)][1:]
        made.append(tuple(blobs))
    found = images(folder, made, [f"build-{number}" for number in range(len(made))], salt)
    return Day(found[:count], found[count:])


def _layer(folder: Path, source: random.Random, salt: int) -> Blob:
    folder.mkdir()
    _, low, high = source.choices(_SIZES, weights=[share for share, _, _ in _SIZES])[0]
    return layers(folder, Kind.GZIP, 1, source.randint(low, high), salt)[0]


def _measure(turn: Turn) -> Sample:
    made = turn.workshop.get(day, turn.effort.day_images, turn.salt)
    turn.server.fill([holding_of(REPOSITORY, made.held)])
    measured = turn.run(_jobs(made), connections=_CONNECTIONS)
    steps = measured.result.steps
    figures = {f"{name}_p99": steps[name].latency.p99 for name in ("push", "pull") if name in steps}
    return measured.sample(measured.result.total.count, figures=figures)


def _jobs(made: Day) -> list[Job]:
    source = random.Random("requests of a day")
    weights = [1 / rank for rank in range(1, len(made.held) + 1)]
    popular = source.choices(made.held, weights, k=len(made.held) * _READS_FOR_AN_IMAGE)
    jobs = [Job((_read(image, source),)) for image in popular]
    jobs += [_push(image) for image in made.pushed]
    source.shuffle(jobs)
    return jobs


def _read(image: Image, source: random.Random) -> Request:
    base = f"/v2/{REPOSITORY}"
    blob = f"{base}/blobs/{source.choice(image.blobs).digest}"
    tag = f"{base}/manifests/{image.manifest.tag}"
    known = ("If-None-Match", f'"{image.manifest.digest}"')
    requests = {
        Request("GET", tag, expect=(200, 304), headers=(*ACCEPT, known)): 34,
        Request("GET", tag, headers=ACCEPT): 11,
        Request("GET", f"{base}/manifests/{image.manifest.digest}", headers=ACCEPT): 15,
        Request("HEAD", blob): 15,
        Request("GET", blob, "pull"): 20,
        Request("GET", "/v2/"): 2,
        Request("GET", f"{base}/tags/list?n=20"): 1,
        Request("HEAD", f"{base}/blobs/{digest_of(b'missing')}", expect=(404,)): 2,
    }
    return source.choices(list(requests), list(requests.values()))[0]


def _push(image: Image) -> Job:
    blobs = [push_of(REPOSITORY, b, Framing.CHUNKED, head_first=True) for b in image.blobs]
    return Job((*blobs, put_of(REPOSITORY, image.manifest)))

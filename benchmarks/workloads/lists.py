"""Pages of long lists: all tags of a repository, all repositories of a registry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import scale
from benchmarks.cases import Case, Setup, Stage, Stock, Turn
from benchmarks.content.images import Image, images
from benchmarks.content.layers import Kind, layers
from benchmarks.holdings import Holding, Manifest
from benchmarks.load import Job, Request
from benchmarks.peers.dtrfast import Dtrfast
from benchmarks.peers.peer import Ability
from benchmarks.results import Sample, Unit

_PAGE_SIZE = 1000
_CONNECTIONS = 4
# Registries with directories as lists need a minute for so many entries, and far longer for all.
_PEER_ENTRIES = 5000
_TAGS_REPOSITORY = "library/tagged"


def cases() -> Iterator[Case]:
    """Return the cases of both lists."""
    for name, stock in (("tags", MANY_TAGS), ("catalog", MANY_REPOSITORIES)):
        yield Case(
            name=name,
            about=f"a page of {_PAGE_SIZE:,} of {stock.scale.tags:,} {stock.what}"
            f" (of {_PEER_ENTRIES:,} on others)",
            unit=Unit.REQUESTS,
            measure=partial(_measure, stock),
            needs=frozenset({Ability.PUSH, Ability.START}),
            setup=Setup(stock=stock),
        )


@dataclass(frozen=True, slots=True)
class Many(Stock):
    """One image under many names: written into dtrfast's index, pushed to other servers."""

    what: str
    scale: scale.Scale

    def before(self, stage: Stage) -> None:
        """Write dtrfast's index."""
        if isinstance(stage.peer, Dtrfast):
            made = scale.large_store(stage.start.home, self.scale)
            made.data.rename(stage.start.data)

    def after(self, stage: Stage) -> None:
        """Push to other servers."""
        if not isinstance(stage.peer, Dtrfast):
            image = stage.workshop.get(_image)
            holdings = [
                Holding(repository, image.blobs, (Manifest(*_parts(image), tag),))
                for repository, tag in self._names()
            ]
            stage.server.fill(holdings)

    def _names(self) -> list[tuple[str, str]]:
        numbers = range(_PEER_ENTRIES)
        if self.scale.repositories == 1:
            return [(_TAGS_REPOSITORY, f"ci-{number:06d}") for number in numbers]
        return [(f"team-{number % 97:02d}/app-{number:06d}", "latest") for number in numbers]

    def pages(self, stage: Stage) -> list[str]:
        """Return the paths of ten pages, from the first to the last full one."""
        if isinstance(stage.peer, Dtrfast):
            made = scale.LargeStore(stage.start.home, self.scale)
            repository, names = made.repository(0), made.tags()
            names = names if self.scale.repositories == 1 else made.repositories()
        else:
            repository = _TAGS_REPOSITORY
            names = [repository for repository, _ in self._names()]
            names = [tag for _, tag in self._names()] if self.scale.repositories == 1 else names
        names = sorted(names)
        one = self.scale.repositories == 1
        path = f"/v2/{repository}/tags/list" if one else "/v2/_catalog"
        lasts = names[: len(names) - _PAGE_SIZE : max(1, len(names) // 10)]
        return [f"{path}?n={_PAGE_SIZE}&last={last}" for last in lasts]


MANY_TAGS = Many("tags", scale.MANY_TAGS)
MANY_REPOSITORIES = Many("repositories", scale.MANY_REPOSITORIES)


def _image(folder: Path) -> Image:
    blobs = layers(folder, Kind.GZIP, 1, 2048)
    return images(folder, [blobs], ["latest"])[0]


def _parts(image: Image) -> tuple[bytes, str]:
    return image.manifest.content, image.manifest.digest


def _measure(stock: Many, turn: Turn) -> Sample:
    jobs = [Job((Request("GET", path),)) for path in stock.pages(turn.stage)]
    seconds = turn.effort.seconds
    measured = turn.run(jobs, connections=_CONNECTIONS, seconds=seconds, repeat=True)
    return measured.sample(measured.result.total.count)

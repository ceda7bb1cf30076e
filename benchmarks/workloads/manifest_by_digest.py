"""GET of manifests by digest, which docker sends after the HEAD by tag of each pull."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.cases import Case
from benchmarks.content.images import Image
from benchmarks.holdings import ACCEPT
from benchmarks.load import Request
from benchmarks.workloads import requests
from benchmarks.workloads.library import REPOSITORY


def cases() -> Iterator[Case]:
    """Return the case."""
    return requests.cases("manifest-by-digest", "GET of a manifest by digest", _steps)


def _steps(images: Sequence[Image]) -> list[Request]:
    return [
        Request("GET", f"/v2/{REPOSITORY}/manifests/{image.manifest.digest}", headers=ACCEPT)
        for image in images
    ]

"""GET of manifests by digest: what follows the HEAD by tag in every pull of docker's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.cases import Case
from benchmarks.content.images import Image
from benchmarks.holdings import ACCEPT
from benchmarks.load import Request
from benchmarks.workloads import requests
from benchmarks.workloads.library import REPOSITORY


def cases() -> Iterator[Case]:
    """One."""
    return requests.cases("manifest-by-digest", "GET of a manifest by digest", _steps)


def _steps(images: Sequence[Image]) -> list[Request]:
    return [
        Request("GET", f"/v2/{REPOSITORY}/manifests/{image.manifest.digest}", headers=ACCEPT)
        for image in images
    ]

"""GET of manifests by tag, the first request of each pull and each check for updates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.cases import Case
from benchmarks.content.images import Image
from benchmarks.holdings import ACCEPT
from benchmarks.load import Request
from benchmarks.workloads import requests
from benchmarks.workloads.library import REPOSITORY


def cases() -> Iterator[Case]:
    """Return the cases over plain HTTP and over TLS."""
    about = "GET of a manifest by tag"
    return requests.cases("manifest-by-tag", about, _steps, quick=True, tls=True)


def _steps(images: Sequence[Image]) -> list[Request]:
    return [
        Request("GET", f"/v2/{REPOSITORY}/manifests/{image.manifest.tag}", headers=ACCEPT)
        for image in images
    ]

"""GET of small blobs: configs, signatures, attestations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.cases import Case
from benchmarks.content.images import Image
from benchmarks.load import Request
from benchmarks.workloads import requests
from benchmarks.workloads.library import REPOSITORY


def cases() -> Iterator[Case]:
    """Return the case."""
    return requests.cases("small-blob", "GET of a blob of 2 KB", _steps, quick=True)


def _steps(images: Sequence[Image]) -> list[Request]:
    return [
        Request("GET", f"/v2/{REPOSITORY}/blobs/{layer.digest}")
        for image in images
        for layer in image.layers
    ]

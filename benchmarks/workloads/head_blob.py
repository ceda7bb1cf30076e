"""HEAD of blobs, which a push sends for each layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.cases import Case
from benchmarks.content.images import Image
from benchmarks.content.layers import digest_of
from benchmarks.load import Request
from benchmarks.workloads import requests
from benchmarks.workloads.library import REPOSITORY


def cases() -> Iterator[Case]:
    """Return the cases for existing and for missing blobs."""
    yield from requests.cases("head-blob", "HEAD of a blob that exists", _existing, quick=True)
    yield from requests.cases("head-missing", "HEAD of a blob that is not there", _missing)


def _existing(images: Sequence[Image]) -> list[Request]:
    return [
        Request("HEAD", f"/v2/{REPOSITORY}/blobs/{layer.digest}")
        for image in images
        for layer in image.layers
    ]


def _missing(images: Sequence[Image]) -> list[Request]:
    digests = [digest_of(b"missing %d" % number) for number in range(len(images))]
    return [
        Request("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}", expect=(404,)) for digest in digests
    ]

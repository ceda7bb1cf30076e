"""The content of a server before it is measured: blobs and manifests by repository."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import load
from benchmarks.load import Body, Framing, Job, Push, Request

# Enough connections to fill a server about as fast as possible.
_CONNECTIONS = 8
_COPY_SIZE = 1 << 20

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
# Clients send this when they pull; without it distribution answers 404.
ACCEPT = (("Accept", f"{MANIFEST_TYPE}, application/vnd.oci.image.index.v1+json"),)


class FillFailed(Exception):
    """A server refused content before the measurement. The message has its answer."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob: bytes in a file, and their digest."""

    body: Body
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest: its bytes, digest and tag. Without a tag it is pushed by digest."""

    content: bytes
    digest: str
    tag: str = ""

    @property
    def reference(self) -> str:
        return self.tag or self.digest


@dataclass(frozen=True, slots=True)
class Holding:
    """The content of one repository."""

    repository: str
    blobs: tuple[Blob, ...] = ()
    manifests: tuple[Manifest, ...] = ()


def push_of(repository: str, blob: Blob, framing: Framing, *, head_first: bool = False) -> Push:
    """Return the step that pushes a blob."""
    return Push(repository, blob.digest, blob.body, framing, head_first=head_first)


def put_of(repository: str, manifest: Manifest) -> Request:
    """Return the step that pushes a manifest."""
    return Request(
        "PUT",
        f"/v2/{repository}/manifests/{manifest.reference}",
        expect=(201,),
        headers=(("Content-Type", MANIFEST_TYPE),),
        body=manifest.content,
    )


def push(address: tuple[str, int], holdings: Sequence[Holding], *, tls: bool) -> None:
    """Push all content, blobs first. Raises FillFailed."""
    blobs = [
        Job((push_of(holding.repository, blob, Framing.LENGTH),))
        for holding in holdings
        for blob in holding.blobs
    ]
    manifests = [
        Job((put_of(holding.repository, manifest),))
        for holding in holdings
        for manifest in holding.manifests
    ]
    for jobs in (blobs, manifests):
        if jobs:
            result = load.run(address, jobs, connections=_CONNECTIONS, tls=tls)
            if result.total.errors or result.jobs["job"].count < len(jobs):
                raise FillFailed("; ".join(result.errors) or "a push was cut short")


def lay_out(holdings: Sequence[Holding], root: Path) -> None:
    """Write all content as files below `root`, at the paths of their URLs."""
    for holding in holdings:
        base = root / "v2" / holding.repository
        for folder in (base / "blobs", base / "manifests"):
            folder.mkdir(parents=True, exist_ok=True)
        for blob in holding.blobs:
            _copy(blob, base / "blobs" / blob.digest)
        for manifest in holding.manifests:
            for reference in {manifest.reference, manifest.digest}:
                (base / "manifests" / reference).write_bytes(manifest.content)


def _copy(blob: Blob, path: Path) -> None:
    with blob.body.file.open("rb") as source, path.open("wb") as target:
        offset, left = blob.body.offset, blob.size
        while left:
            sent = os.sendfile(target.fileno(), source.fileno(), offset, min(left, _COPY_SIZE))
            offset, left = offset + sent, left - sent

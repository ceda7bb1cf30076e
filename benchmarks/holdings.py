"""What a server is to hold before it is measured: blobs and manifests by repository."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import load
from benchmarks.load import Body, Framing, Job, Push, Request

# Enough to fill a server about as fast as it goes.
_CONNECTIONS = 8
_COPY_SIZE = 1 << 20

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
# What pullers send: distribution answers 404 to those that do not.
ACCEPT = (("Accept", f"{MANIFEST_TYPE}, application/vnd.oci.image.index.v1+json"),)


class FillFailed(Exception):
    """A server did not take what it was to hold; the message has what it answered."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes in a file, and their digest."""

    body: Body
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Bytes of a manifest, their digest, and the tag they get; no tag means by digest."""

    content: bytes
    digest: str
    tag: str = ""

    @property
    def reference(self) -> str:
        return self.tag or self.digest


@dataclass(frozen=True, slots=True)
class Holding:
    """What one repository has."""

    repository: str
    blobs: tuple[Blob, ...] = ()
    manifests: tuple[Manifest, ...] = ()


def push_of(repository: str, blob: Blob, framing: Framing, *, head_first: bool = False) -> Push:
    """The step that pushes a blob."""
    return Push(repository, blob.digest, blob.body, framing, head_first=head_first)


def put_of(repository: str, manifest: Manifest) -> Request:
    """The step that pushes a manifest."""
    return Request(
        "PUT",
        f"/v2/{repository}/manifests/{manifest.reference}",
        expect=(201,),
        headers=(("Content-Type", MANIFEST_TYPE),),
        body=manifest.content,
    )


def push(address: tuple[str, int], holdings: Sequence[Holding], *, tls: bool) -> None:
    """Push all of it, blobs first. Raises FillFailed."""
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
    """Write all of it as files below `root`, under the paths that pull it."""
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

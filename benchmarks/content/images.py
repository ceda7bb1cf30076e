"""Small images: a config, layers and a manifest, as builders write them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.content.layers import blobs_of, digest_of
from benchmarks.holdings import MANIFEST_TYPE, Blob, Holding, Manifest
from benchmarks.load import Body

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
# The size of a config with a history of a dozen steps; published ones have 5 to 10 KB.
_CONFIG_SIZE = 6000


@dataclass(frozen=True, slots=True)
class Image:
    """An image. Its parts are in the order in which a client pushes them."""

    layers: tuple[Blob, ...]
    config: Blob
    manifest: Manifest

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """All blobs that the manifest names."""
        return (*self.layers, self.config)


def images(
    folder: Path, layers: Sequence[tuple[Blob, ...]], tags: Sequence[str], salt: int = 0
) -> tuple[Image, ...]:
    """Make an image for each tag, with the layers at the same place in the list."""
    path = folder / "configs"
    source = random.Random(f"configs {salt}")
    configs = [_config(tag, its, source) for tag, its in zip(tags, layers, strict=True)]
    path.write_bytes(b"".join(configs))
    bodies, offset = [], 0
    for config in configs:
        bodies.append(Body(path, offset, len(config)))
        offset += len(config)
    rows = zip(tags, layers, blobs_of(bodies), strict=True)
    return tuple(Image(its, config, _manifest(tag, its, config)) for tag, its, config in rows)


def holding_of(repository: str, made: Sequence[Image]) -> Holding:
    """Return a repository with these images. Shared blobs occur once."""
    blobs = {blob.digest: blob for image in made for blob in image.blobs}
    return Holding(repository, tuple(blobs.values()), tuple(image.manifest for image in made))


def _config(tag: str, layers: tuple[Blob, ...], source: random.Random) -> bytes:
    history: list[dict[str, str]] = []
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": [f"BUILD={tag}"], "Entrypoint": ["/app/serve"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        "history": history,
    }
    while len(json.dumps(document)) < _CONFIG_SIZE:
        history.append({"created_by": f"RUN make {source.randbytes(200).hex()} # buildkit"})
    return json.dumps(document).encode()


def _manifest(tag: str, layers: tuple[Blob, ...], config: Blob) -> Manifest:
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor(CONFIG_TYPE, config),
        "layers": [_descriptor(LAYER_TYPE, layer) for layer in layers],
    }
    content = json.dumps(document).encode()
    return Manifest(content, digest_of(content), tag)


def _descriptor(media_type: str, blob: Blob) -> dict[str, object]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}

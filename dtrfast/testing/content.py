"""Small images and artifacts: their bytes, which are the same in every run.

Layers and configs are as builders make them (OCI image specification, "layer.md", "config.md").
Times are 0 and owners are root, so equal arguments give equal digests.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

# The contents of a layer by their paths, without a slash in front.
Files = Mapping[str, bytes]

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
EMPTY = b"{}"


@dataclass(frozen=True, slots=True)
class PushedManifest:
    """A manifest that the registry has: an image, an index or an artifact."""

    host: str  # HOST:PORT of the registry
    repository: str
    tag: str  # empty for a push by digest
    digest: str  # sha256:…
    size: int  # of the manifest, in bytes
    media_type: str

    @property
    def reference(self) -> str:
        """The name for a client, with the host: by tag, or by digest without one."""
        return f"{self.host}/{self.repository}:{self.tag}" if self.tag else self.by_digest

    @property
    def by_digest(self) -> str:
        """The name for a client, with the host and the digest."""
        return f"{self.host}/{self.repository}@{self.digest}"


def digest_of(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"


def descriptor_of(content: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def layer_of(files: Files) -> tuple[bytes, str]:
    """Return a layer as gzip, and the digest of its uncompressed bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, content in sorted(files.items()):
            member = tarfile.TarInfo(path)
            member.size = len(content)
            member.mode = 0o755
            archive.addfile(member, io.BytesIO(content))
    raw = buffer.getvalue()
    return gzip.compress(raw, mtime=0), digest_of(raw)


def config_of(platform: str, diff_ids: Sequence[str], settings: Mapping[str, Any]) -> bytes:
    """Return the config of an image. `settings` is its part `config`, as {"Cmd": ["/app"]}.

    Raises ValueError if `platform` is not OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT.
    """
    system, architecture, variant = _parts_of(platform)
    document = {
        "architecture": architecture,
        "os": system,
        **({"variant": variant} if variant else {}),
        "created": "1970-01-01T00:00:00Z",
        "config": dict(settings),
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": [{"created_by": f"layer {number}"} for number, _ in enumerate(diff_ids, 1)],
    }
    return encoded(document)


def platform_of(platform: str) -> dict[str, str]:
    """Return the entry `platform` of a descriptor in an index. Raises as `config_of`."""
    system, architecture, variant = _parts_of(platform)
    found = {"os": system, "architecture": architecture}
    return {**found, "variant": variant} if variant else found


def _parts_of(platform: str) -> tuple[str, str, str]:
    system, _, rest = platform.partition("/")
    architecture, _, variant = rest.partition("/")
    if not system or not architecture or "/" in variant:
        raise ValueError(f"{platform!r} is not a platform such as linux/amd64 or linux/arm64/v8")
    return system, architecture, variant


def manifest_of(
    config: Mapping[str, Any],
    layers: Sequence[Mapping[str, Any]],
    *,
    artifact_type: str = "",
    subject: Mapping[str, Any] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> bytes:
    """Return an image manifest of these descriptors."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        **({"artifactType": artifact_type} if artifact_type else {}),
        "config": config,
        "layers": list(layers),
        **({"subject": subject} if subject else {}),
        **({"annotations": dict(annotations)} if annotations else {}),
    }
    return encoded(document)


def index_of(manifests: Sequence[Mapping[str, Any]]) -> bytes:
    """Return an index of these descriptors."""
    return encoded({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": list(manifests)})


def encoded(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()

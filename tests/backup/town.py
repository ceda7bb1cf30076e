"""A store with pushed images, for backups."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

from dtrfast.config import Config, StoreConfig
from dtrfast.jobs.tasks import content_tasks
from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry.registry import Registry
from dtrfast.store.store import Store
from tests import verifying

APP = RepositoryName.parse("acme/app")


def quiet(done: int, total: int) -> None:
    return None


def tell_nobody(what: str, done: int, total: int) -> None:
    return None


class Town:
    """A store that tests push images to."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.store = Store.open(data, StoreConfig())
        config = Config(store=StoreConfig(data=data))
        self.registry = Registry(self.store.engine, self.store.blobs, config, fullness=lambda: 0.0)

    def push(self, name: RepositoryName, tag: str, seed: int) -> Digest:
        chance = random.Random(seed)
        shared = random.Random(0).randbytes(300_000)
        bodies = [
            b"{}" + str(seed).encode(),
            b"\x1f\x8b" + chance.randbytes(60_000),
            shared + chance.randbytes(100_000),
        ]
        parts = []
        author = self.registry.author("pusher")
        for kind, body in zip((OCI_CONFIG, OCI_LAYER, OCI_LAYER), bodies, strict=True):
            upload = self.registry.uploads.begin(name)
            upload.append(body)
            digest = Digest.of_bytes(body)
            self.registry.uploads.finish(upload, name, digest, author)
            parts.append({"mediaType": kind, "digest": str(digest), "size": len(body)})
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST}
        manifest = json.dumps({**document, "config": parts[0], "layers": parts[1:]}).encode()
        return self.registry.manifests.put(
            name, Tag(tag), manifest, OCI_MANIFEST, author=author
        ).digest

    def keep_house(self, rounds: int = 1) -> None:
        for _ in range(rounds):
            for task in content_tasks(self.store, self.registry.holdings):
                task.run()

    def check(self, name: RepositoryName, tag: str, digest: Digest) -> None:
        """Check that the image is complete, byte for byte."""
        found = self.registry.manifests.get(name, Tag(tag))
        assert found.digest == digest
        document = json.loads(found.body)
        for part in (document["config"], *document["layers"]):
            blob = Digest.parse(part["digest"])
            with self.registry.blobs.open_range(name, blob) as reader:
                body = b"".join(
                    s if isinstance(s, bytes) else os.pread(s.descriptor, s.length, s.offset)
                    for s in reader
                )
            assert Digest.of_bytes(body) == blob

    def findings(self) -> list[str]:
        return verifying.findings(self.store)

"""A program for the version before this one: creates a store with content of each kind, or reads
one.

python old_store.py make DATA      prints a JSON object with the store's contents
python old_store.py check DATA     reads such an object from standard input and checks the contents
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
from pathlib import Path

from dtrfast.config import Config, StoreConfig
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.registry.registry import Registry
from dtrfast.store.store import Store
from dtrfast.store.tasks import Task

NAME = RepositoryName.parse("acme/app")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def bodies() -> list[bytes]:
    """Return an inline blob, a loose one, and two chunked ones that share half of their content."""
    chance = random.Random(1)
    shared = chance.randbytes(90_000)
    return [
        b"{}",
        b"\x1f\x8b" + chance.randbytes(9_000),
        shared + chance.randbytes(50_000),
        shared + b"text " * 10_000,
    ]


def _tasks(store: Store, registry: Registry) -> list[Task]:
    """Run the housekeeping, by the interface of this version or of the one before."""
    if not hasattr(registry, "holdings"):
        return store.tasks()  # type: ignore[call-arg]
    registry.holdings.drop_unheld(100)
    return store.tasks(registry.holdings.are_held)


def push(registry: Registry, body: bytes) -> Digest:
    upload = registry.uploads.begin(NAME)
    upload.append(body)
    digest = Digest.of_bytes(body)
    registry.uploads.finish(upload, NAME, digest, registry.author("pusher"))
    return digest


def put(registry: Registry, tag: str, layers: list[tuple[Digest, int]]) -> Digest:
    parts = [{"mediaType": "x/y", "digest": str(d), "size": size} for d, size in layers]
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": parts[0], "layers": parts[1:]}
    body = json.dumps(document).encode()
    author = registry.author("pusher")
    return registry.manifests.put(NAME, Tag(tag), body, MANIFEST, author=author).digest


def make(store: Store, registry: Registry) -> None:
    pushed = [(push(registry, body), len(body)) for body in bodies()]
    tags = {"v1": str(put(registry, "v1", pushed)), "v2": str(put(registry, "v2", pushed[:2]))}
    gone = push(registry, random.Random(2).randbytes(40_000))
    registry.blobs.delete(NAME, gone, registry.author())
    for _ in range(2):
        for task in _tasks(store, registry):
            task.run()
    sys.stdout.write(json.dumps({"tags": tags, "blobs": [str(digest) for digest, _ in pushed]}))


def check(registry: Registry, known: dict[str, object]) -> None:
    tags = known["tags"]
    assert isinstance(tags, dict)
    for tag, digest in tags.items():
        assert str(registry.manifests.get(NAME, Tag(tag)).digest) == digest
    blobs = known["blobs"]
    assert isinstance(blobs, list)
    for text in blobs:
        digest = Digest.parse(text)
        with registry.blobs.open_range(NAME, digest) as reader:
            body = b"".join(
                s if isinstance(s, bytes) else os.pread(s.descriptor, s.length, s.offset)
                for s in reader
            )
        assert hashlib.sha256(body).hexdigest() == digest.hex


def main(command: str, data: Path) -> None:
    store = Store.open(data, StoreConfig())
    registry = Registry(
        store.engine, store.blobs, Config(store=StoreConfig(data=data)), fullness=lambda: 0.0
    )
    if command == "make":
        make(store, registry)
    else:
        check(registry, json.load(sys.stdin))
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

"""A program that pushes and ends between the steps of a push, without closing anything.

Run with the name of an engine and a data directory.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from dtrfast.config import Config, StoreConfig
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName
from dtrfast.registry.holdings import ChangeRequest
from dtrfast.registry.permits import EVERYBODY
from dtrfast.registry.registry import Registry
from dtrfast.store.blobs import Placement
from dtrfast.store.store import Store
from tests.two_environments import ENGINES

NAME = RepositoryName.parse("team/app")
OTHER = RepositoryName.parse("team/other")
KINDS = ("inline", "loose", "chunked")


def make_body(name: str, kind: str) -> bytes:
    """Return content of a kind. Each `name` gives other content."""
    body = random.Random(f"{name} {kind}").randbytes(300_000)
    return {"inline": body[:4000], "loose": b"\x1f\x8b" + body[:20_000], "chunked": body}[kind]


def open_registry(store: Store) -> Registry:
    config = Config(store=StoreConfig(data=store.layout.data))
    return Registry(store.engine, store.blobs, config, fullness=lambda: 0.0)


def push(registry: Registry, body: bytes, name: RepositoryName = NAME) -> Digest:
    digest = Digest.of_bytes(body)
    upload = registry.uploads.begin(name)
    upload.append(body)
    registry.uploads.finish(upload, name, digest, registry.author())
    return digest


def _place(store: Store, digest: Digest, body: bytes) -> Placement:
    upload = store.blobs.begin(OTHER.text)
    upload.append(body)
    return store.blobs.commit(upload, digest)


def main(engine: str, data: Path) -> None:
    store = Store.open(data, StoreConfig(), open_index=ENGINES[engine])
    registry = open_registry(store)
    for kind in KINDS:
        kept = make_body("kept", kind)
        push(registry, kept)
        # Before the index changes: there is only the upload.
        _place(store, Digest.of_bytes(make_body("unsettled", kind)), make_body("unsettled", kind))
        # Between the two steps: new content, content that another repository holds under the same
        # name or under another one, and content that the client pushes again later.
        for name in ("lost", "pushed again"):
            body = make_body(name, kind)
            _place(store, Digest.of_bytes(body), body).settle()
        _place(store, Digest.of_bytes(kept, "sha512"), kept).settle()
        # After both steps: only the upload is not ended.
        linked = make_body("linked", kind)
        change = ChangeRequest(EVERYBODY, NAME, registry.author())
        registry.holdings.commit_blob(change, _place(store, Digest.of_bytes(linked), linked))
    os._exit(9)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

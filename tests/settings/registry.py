"""Proofs of the settings that limit the registry's content."""

from __future__ import annotations

import json
from functools import partial

from dtrfast.config import Config, RegistryConfig
from dtrfast.oci.media_types import OCI_INDEX, OCI_MANIFEST
from tests.api.managed.town import Town, basic, in_memory
from tests.fakes.client import descriptor, image_manifest, index_manifest
from tests.settings.proof import Bench, proves

_APP = "/v2/acme/app"


def _town(bench: Bench, **fields: object) -> Town:
    config = Config(registry=RegistryConfig(**fields))  # type: ignore[arg-type]
    return bench.stack.enter_context(in_memory(config=config))


def _put(town: Town, manifest: bytes, kind: str = OCI_MANIFEST) -> int:
    headers = {**basic("owen"), "content-type": kind}
    return town.client.put(f"{_APP}/manifests/new", headers=headers, content=manifest).status_code


@proves("registry.delete", (True, 202), (False, 405))
def deletes(bench: Bench, value: object) -> object:
    town = _town(bench, delete=value)
    return town.client.delete(f"{_APP}/manifests/v1", headers=basic("owen")).status_code


@proves("registry.require_blobs", (True, 400), (False, 201))
def requires_blobs(bench: Bench, value: object) -> object:
    return _put(_town(bench, require_blobs=value), image_manifest(b"absent"))


@proves("registry.require_children", (True, 400), (False, 201))
def requires_children(bench: Bench, value: object) -> object:
    absent = descriptor(image_manifest(b"absent"), OCI_MANIFEST)
    return _put(_town(bench, require_children=value), index_manifest(absent), OCI_INDEX)


@proves("registry.page_size_max", (1, 1), (1000, 2))
def pages(bench: Bench, value: object) -> object:
    town = _town(bench, page_size_max=value)
    assert _put(town, image_manifest(b"app")) == 201
    return len(town.client.get(f"{_APP}/tags/list", headers=basic("owen")).json()["tags"])


@proves("registry.manifest_size_max", (65_536, 413), (100_000, 201))
def bounds_manifests(bench: Bench, value: object) -> object:
    manifest = json.loads(image_manifest(b"app")) | {"annotations": {"n": "x" * 70_000}}
    return _put(_town(bench, manifest_size_max=value), json.dumps(manifest).encode())


@proves("registry.open_uploads_max", (2, [202, 503]), (3, [202, 202]))
def bounds_open_uploads(bench: Bench, value: object) -> object:
    town = _town(bench, open_uploads_max=value)
    # One upload is open already.
    ask = partial(town.client.post, f"{_APP}/blobs/uploads/", headers=basic("owen"))
    return [ask().status_code for _ in range(2)]

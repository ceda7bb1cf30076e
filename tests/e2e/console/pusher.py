"""Pushes of small images over HTTP, which take milliseconds."""

from __future__ import annotations

import json
from dataclasses import dataclass

import httpx

from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import OCI_MANIFEST
from tests.fakes.client import image_manifest


@dataclass(frozen=True)
class Pusher:
    """A client that pushes small images to one repository as owen, over HTTP."""

    client: httpx.Client
    repository: str

    def image(self, tag: str, layer: bytes, **config: str) -> bytes:
        """Push an image of one layer; returns its manifest."""
        body = json.dumps(config).encode()
        for blob in (layer, body):
            url = f"/v2/{self.repository}/blobs/uploads/?digest={Digest.of_bytes(blob)}"
            self.client.post(url, content=blob).raise_for_status()
        return self.manifest(tag, image_manifest(layer, config=body))

    def manifest(self, tag: str, body: bytes, media_type: str = OCI_MANIFEST) -> bytes:
        """Push a manifest by a tag, or without one by its digest."""
        url = f"/v2/{self.repository}/manifests/{tag or Digest.of_bytes(body)}"
        headers = {"content-type": media_type}
        self.client.put(url, content=body, headers=headers).raise_for_status()
        return body

"""Blobs and manifests of the generated requests: small ones of each kind that the store knows."""

from __future__ import annotations

import hashlib
import json
import random

_SEED = 1503
_random = random.Random(_SEED)

IMAGE_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
DOCKER_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


def digest_of(body: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"


BLOBS = {
    "empty": b"",
    "tiny": b"x",
    "small": _random.randbytes(4000),
    "text": b"".join(b"line %d of a file that compresses\n" % i for i in range(2000)),
    "random": _random.randbytes(300_000),
    "gzip": b"\x1f\x8b\x08" + _random.randbytes(50_000),
}


def _descriptor(media_type: str, body: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(body), "size": len(body)}


def _manifest(media_type: str, **fields: object) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, **fields}).encode()


_CONFIG = _descriptor("application/vnd.oci.image.config.v1+json", BLOBS["tiny"])
_LAYERS = [
    _descriptor("application/vnd.oci.image.layer.v1.tar", BLOBS[name])
    for name in ("small", "random", "gzip")
]

INDEX = _manifest(INDEX_TYPE, manifests=[])
IMAGE = _manifest(IMAGE_TYPE, config=_CONFIG, layers=_LAYERS)

# The media type of each manifest, and its bytes.
MANIFESTS = {
    "index": (INDEX_TYPE, INDEX),
    "image": (IMAGE_TYPE, IMAGE),
    "docker": (DOCKER_TYPE, _manifest(DOCKER_TYPE, config=_CONFIG, layers=[])),
    "parent": (INDEX_TYPE, _manifest(INDEX_TYPE, manifests=[_descriptor(IMAGE_TYPE, IMAGE)])),
    "signature": (
        IMAGE_TYPE,
        _manifest(
            IMAGE_TYPE,
            artifactType="application/x.signature",
            config=_CONFIG,
            layers=[],
            subject=_descriptor(INDEX_TYPE, INDEX),
        ),
    ),
    "other type": (DOCKER_TYPE, INDEX),
    "no type": ("", INDEX),
    "unknown type": ("text/plain", INDEX),
    "no JSON": (INDEX_TYPE, b'{"schemaVersion":2,'),
    "a list": (INDEX_TYPE, b"[]"),
    "nothing": (INDEX_TYPE, b""),
    "twice the same key": (INDEX_TYPE, INDEX[:-1] + b',"manifests":[]}'),
    "bad digest": (IMAGE_TYPE, IMAGE.replace(b"sha256:", b"sha257:")),
    "huge number": (INDEX_TYPE, INDEX.replace(b"2", b"2" * 400, 1)),
    "deep": (INDEX_TYPE, b"[" * 5000),
    "not UTF-8": (INDEX_TYPE, INDEX[:-1] + b',"annotations":{"a":"\xff"}}'),
}

# All bodies by name, so that a failed example fits on a screen.
BODIES = {**BLOBS, **{name: body for name, (_, body) in MANIFESTS.items()}}

DIGESTS = [digest_of(body) for body in BLOBS.values()]
DIGESTS += [digest_of(body) for _, body in MANIFESTS.values()]

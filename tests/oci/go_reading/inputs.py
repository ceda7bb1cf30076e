"""Manifests that Go's encoding/json reads in a way of its own, by name.

To record again what Go clients say (with Go of `.ci/go`, and the network for its modules):

    cp -r tests/oci/go_reading /tmp/go && (cd /tmp/go && go mod tidy &&
        go build -tags "containers_image_openpgp exclude_graphdriver_btrfs" -o say .)
    python -m tests.oci.go_reading.inputs | /tmp/go/say > tests/golden/go_reading.jsonl
"""

from __future__ import annotations

import base64
import json
import sys

from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
)

CONTENT = b"hi"
DIGEST = Digest.of_bytes(CONTENT)
OTHER = Digest.of_bytes(b"other")
MEDIA_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_MANIFEST_LIST)

# Fields of a descriptor: of a layer, and of an entry of an index.
_DESCRIPTOR_FIELDS = r"""
"annotations":{"x":1}
"annotations":{"x":null}
"annotations":{"x":"a","x":null}
"annotations":["a"]
"annotations":"x"
"annotations":null
"annotations":{"x":"\ud800"}
"annotations":{"x":"\ud800\u0041\ud83d\ude00\\ud800"}
"annotations":1,"annotations":{}
"Annotations":{"x":1}
"platform":"x"
"platform":null
"platform":[]
"platform":{}
"platform":{"os":1}
"platform":{"os":null}
"platform":{"OS":1}
"platform":{"os.features":"x"}
"platform":{"os.features":[1]}
"platform":{"os.features":[null]}
"platform":{"os.features":null}
"platform":{"os.version":1}
"platform":{"variant":1}
"platform":{"features":"x"}
"platform":{"features":[1]}
"platform":{"unknown":1}
"data":"aGk="
"data":"aG\r\nk=\n"
"data":"%%%"
"data":"aGk"
"data":"aG k="
"data":"aGk=="
"data":"="
"data":"a-_="
"data":"aGk=aGk="
"data":null
"data":{}
"data":1
"data":[1.5]
"urls":"x"
"urls":[1]
"urls":[null]
"urls":null
"urls":{}
"artifactType":1
"artifactType":null
"mediaType":1
"MEDIATYPE":1
"unknown":[1]
"size":1.0
"size":1e3
"size":-1
"size":-0
"size":9223372036854775808
"size":"5"
"size":null
"size":true
"digest":1
"digest":null
"digest":""
"\u0053ize":"x"
"LONG-Size":"x"
""".replace("LONG-S", "\u017f")
# Fields of an image, and of an index.
_FIELDS = r"""
"annotations":{"x":1}
"annotations":{"x":null}
"annotations":["a"]
"annotations":null
"annotations":{"a":"1"},"annotations":null
"artifactType":1
"artifacttype":5
"artifactType":null
"subject":null
"subject":"x"
"Subject":5
"mediaType":1
"unknown":{"a":[1]}
"unknown":01
"unknown":NaN
"unknown":1e999
"unknown":[1,]
"unknown":"\x"
"unknown":"\ud800"
"unknown":"	"
"history":[]
"History":1
"history":null
"fsLayers":[]
"FSLAYERS":null
"signatures":[1]
"tag":5
"""
_IMAGE_FIELDS = """
"layers":null
"layers":[null]
"layers":{}
"manifests":[]
"manifests":null
"Manifests":5
"""
_INDEX_FIELDS = """
"manifests":null
"manifests":[null]
"manifests":{}
"layers":[]
"layers":null
"Layers":null
"config":null
"config":{}
"""
_VERSIONS = ("", "1", "0", '"2"', "2.0", "2e0", "true", "null")
_ODD_BYTES = {
    "byte order mark": (b"\xef\xbb\xbf", b""),
    "blanks": (b" \t\r\n", b"\n"),
    "trailing text": (b"", b"x"),
    "trailing object": (b"", b"{}"),
    "trailing zero": (b"", b"\0"),
    "trailing form feed": (b"", b"\x0c"),
}


def _image(media_type: str, layer: str, fields: str, version: str) -> str:
    types = (DOCKER_CONFIG, DOCKER_LAYER) if "docker" in media_type else (OCI_CONFIG, OCI_LAYER)
    config, first = (f'"mediaType":"{one}","digest":"{DIGEST}","size":2' for one in types)
    # Docker's type wants the field.
    field = f'"mediaType":"{media_type}",' if "docker" in media_type else ""
    return f'{{{version}{field}"config":{{{config}}},"layers":[{{{first}{layer}}}]{fields}}}'


def _index(media_type: str, entry: str, fields: str, version: str) -> str:
    first = f'"mediaType":"{OCI_MANIFEST}","digest":"{DIGEST}","size":2'
    return f'{{{version}"manifests":[{{{first}{entry}}}]{fields}}}'


def inputs() -> dict[tuple[str, str], bytes]:
    """Bodies by media type and name."""
    found: dict[tuple[str, str], bytes] = {}
    for media_type in MEDIA_TYPES:
        make = _image if "manifest.v" in media_type else _index
        own = _IMAGE_FIELDS if make is _image else _INDEX_FIELDS
        two = '"schemaVersion":2,'
        texts = {"plain": make(media_type, "", "", two)}
        for line in _DESCRIPTOR_FIELDS.split("\n")[1:-1]:
            texts[f"descriptor {line}"] = make(media_type, "," + line, "", two)
        for line in (_FIELDS + own[1:]).split("\n")[1:-1]:
            texts[f"field {line}"] = make(media_type, "", "," + line, two)
        for one in _VERSIONS:
            version = f'"schemaVersion":{one},' if one else ""
            texts[f"version {one}"] = make(media_type, "", "", version)
        plain = texts["plain"]
        for name in ("layers", "manifests", "digest"):
            texts[f"upper {name}"] = plain.replace(f'"{name}"', f'"{name.upper()}"')
        texts["sha512"] = plain.replace(str(DIGEST), str(Digest.of_bytes(CONTENT, "sha512")))
        bodies = {name: text.encode() for name, text in texts.items()}
        for name, (start, end) in _ODD_BYTES.items():
            bodies[name] = start + plain.encode() + end
        bodies["not UTF-8"] = make(media_type, "", ',"annotations":{"a":"?"}', two).encode()
        bodies["not UTF-8"] = bodies["not UTF-8"].replace(b"?", b"a\xff\xe2\x82\xed\xa0\x80")
        found |= {(media_type, name): body for name, body in bodies.items()}
    return found


if __name__ == "__main__":
    for (media_type, _), body in inputs().items():
        text = base64.b64encode(body).decode()
        sys.stdout.write(json.dumps({"type": media_type, "body": text}) + "\n")

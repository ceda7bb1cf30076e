"""Manifests are read as Go clients read them. `go_reading/` recorded the results of Go programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dtrfast.errors import ManifestInvalid
from dtrfast.oci.manifests import Descriptor, Manifest, parse_manifest
from tests.oci.go_reading.inputs import MEDIA_TYPES, inputs

_GOLDEN = Path(__file__).parents[1] / "golden" / "go_reading.jsonl"
# Go accepts these, the specification excludes them, and clients treat them differently.
_ALSO_REFUSED = {
    *("version ", "version 0", "version 1", "version null"),
    *('descriptor "size":-1', 'descriptor "size":null'),
    *('field "layers":[null]', 'field "manifests":[null]'),
}
# The specification allows these; only go-containerregistry refuses them.
_ALSO_TAKEN = {"sha512"}


def parsed(body: bytes, media_type: str) -> Manifest | str:
    try:
        return parse_manifest(body, media_type)
    except ManifestInvalid as error:
        return error.message


def as_go_says(found: Descriptor) -> dict[str, Any]:
    said: dict[str, Any] = {
        "mediaType": found.media_type,
        "digest": str(found.digest),
        "size": found.size,
    }
    if found.urls:
        said["urls"] = list(found.urls)
    return said | ({"annotations": found.annotations} if found.annotations else {})


def test_what_go_clients_refuse_is_refused_and_the_rest_is_read_alike() -> None:
    said = [json.loads(line) for line in _GOLDEN.read_text().splitlines()]
    given = inputs()
    assert {media_type for media_type, _ in given} == set(MEDIA_TYPES)
    wrong: list[tuple[object, ...]] = []
    for ((media_type, name), body), go in zip(given.items(), said, strict=True):
        found = parsed(body, media_type)
        is_refused = name in _ALSO_REFUSED or (bool(go["refused_by"]) and name not in _ALSO_TAKEN)
        if isinstance(found, str) != is_refused:
            wrong.append((media_type, name, go["refused_by"], found))
        elif not isinstance(found, str):
            reading = go["reading"]
            listed = reading.get("layers") or reading.get("manifests") or []
            kept = [{k: v for k, v in one.items() if k in _COMPARED} for one in listed]
            mine = [as_go_says(one) for one in (*found.layers, *found.manifests)]
            if (found.annotations, mine) != (reading.get("annotations", {}), kept):
                wrong.append((media_type, name, reading, mine))
    assert not wrong, "\n".join(map(str, wrong))


_COMPARED = {"mediaType", "digest", "size", "urls", "annotations"}

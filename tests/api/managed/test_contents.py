"""Descriptions of images and artifacts: sizes, names of files, platforms, dates, build caches."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import OCI_ARTIFACT_MANIFEST, OCI_INDEX, OCI_MANIFEST
from dtrfast.registry import configs, descriptions, outlines
from dtrfast.registry.outlines import Outline
from dtrfast.store.blobs import BlobReader
from tests import scoped
from tests.api.managed.test_deletion import APP, delete, preview, put
from tests.api.managed.town import Town, basic
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.client import descriptor, image_manifest, index_manifest

CACHE_CONFIG = "application/vnd.buildkit.cacheconfig.v0"
LAYER = "application/vnd.oci.image.layer.v1.tar+zstd"
TITLE = "org.opencontainers.image.title"


def push(town: Town, *contents: bytes) -> None:
    for content in contents:
        url = f"/v2/acme/app/blobs/uploads/?digest={Digest.of_bytes(content)}"
        answer = town.client.post(url, headers=basic("will"), content=content)
        assert answer.status_code == 201, answer.text


def image_for(town: Town, os: str, machine: str, *layers: bytes, **config: object) -> bytes:
    """Push an image, with its blobs, whose config names a platform; returns its manifest."""
    body = json.dumps({"os": os, "architecture": machine, **config}).encode()
    push(town, body, *layers)
    manifest = image_manifest(*layers, config=body)
    put(town, manifest)
    return manifest


def content(manifest: bytes) -> dict[str, int]:
    document = json.loads(manifest)
    return {one["digest"]: one["size"] for one in (document["config"], *document["layers"])}


def listed(town: Town, tag: str) -> Any:
    (found,) = town.api("rita", "GET", f"{APP}/images?filter={tag}")["images"]
    return found


def shown(town: Town, reference: str) -> Any:
    return town.api("rita", "GET", f"{APP}/manifests/{reference}")


def usage(town: Town, reference: str) -> Any:
    return town.api("admin", "GET", f"{APP}/manifests/{reference}/usage")


# ---- sizes -------------------------------------------------------------------------------------
def test_every_size_counts_a_blob_once(town: Town) -> None:
    """A manifest that names one blob as its config and as two layers, alone and in an index."""
    blob = b"x" * 1000
    push(town, blob)
    twice = image_manifest(blob, blob, config=blob)
    put(town, twice, "twice")
    other = image_for(town, "linux", "amd64", blob, b"other")
    index = index_manifest(descriptor(twice, OCI_MANIFEST), descriptor(other, OCI_MANIFEST))
    put(town, index, "multi", OCI_INDEX)
    whole = sum((content(twice) | content(other)).values())
    manifests = town.api("rita", "GET", f"{APP}/manifests")["manifests"]
    compared = town.api("rita", "GET", f"{APP}/compare?from=twice&to=twice")
    found = {
        "list": listed(town, "twice")["size"],
        "page": shown(town, "twice")["size"],
        "manifests": next(m["imageSize"] for m in manifests if m["tags"] == ["twice"]),
        "deletion": preview(town, "twice")["chosen"][0]["size"],
        "comparison": compared["sizeBefore"],
        "entry of an index": shown(town, "multi")["platforms"][0]["size"],
        "usage": usage(town, "twice")["logicalBytes"] - len(twice),
    }
    assert found == dict.fromkeys(found, 1000)
    assert [layer["size"] for layer in shown(town, "twice")["layers"]] == [1000, 1000]
    for found in (
        {"list": listed(town, "multi")["size"], "page": shown(town, "multi")["size"]},
        {"usage": usage(town, "multi")["logicalBytes"] - len(twice + other + index)},
    ):
        assert found == dict.fromkeys(found, whole)


def test_no_snapshot_is_open_while_configs_are_opened_and_read(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds for lists, pages, comparisons, and the preview of a deletion."""
    one, two = (image_for(town, "linux", machine) for machine in ("amd64", "arm64"))
    put(town, one, "one")
    put(town, two, "two")
    entries = [descriptor(child, OCI_MANIFEST) for child in (one, two)]
    put(town, index_manifest(*entries), "multi", OCI_INDEX)
    open_range = MemoryBlobs.open_range
    opened: list[list[str]] = []

    def watched(self: MemoryBlobs, digest: Digest, *range_: Any) -> BlobReader:
        opened.append(scoped.open_names())
        return open_range(self, digest, *range_)

    monkeypatch.setattr(MemoryBlobs, "open_range", watched)
    for path in ("images", "manifests", "manifests/multi", "compare?from=multi&to=two"):
        monkeypatch.setattr(configs, "_platforms", {})
        opened.clear()
        town.api("rita", "GET", f"{APP}/{path}")
        assert opened != []
        assert opened == [[]] * len(opened), path
    opened.clear()
    preview(town, "multi")
    assert opened == [], "a preview shows nothing from configs"


@pytest.mark.long
def test_an_index_of_indexes_has_the_size_and_the_platforms_of_all(town: Town) -> None:
    one, two = (image_for(town, "linux", m, m.encode()) for m in ("amd64", "arm64"))
    inner = index_manifest(*(descriptor(child, OCI_MANIFEST) for child in (one, two)))
    put(town, inner, "", OCI_INDEX)
    outer = index_manifest(descriptor(inner, OCI_INDEX), descriptor(one, OCI_MANIFEST))
    put(town, outer, "outer", OCI_INDEX)
    found = listed(town, "outer")
    assert found["size"] == sum((content(one) | content(two)).values())
    assert found["platforms"] == ["linux/amd64", "linux/arm64"]
    nested, _ = shown(town, "outer")["platforms"]
    assert (nested["kind"], nested["platform"]) == ("index", "linux/amd64, linux/arm64")
    assert nested["isThere"]


@pytest.mark.long
def test_an_answer_adds_up_so_many_blobs_and_no_more(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound, blobs that images share count once for each image."""
    one, two = (image_for(town, "linux", machine, b"shared") for machine in ("amd64", "arm64"))
    entries = [descriptor(child, OCI_MANIFEST) for child in (one, two, two)]
    put(town, index_manifest(*entries), "multi", OCI_INDEX)
    monkeypatch.setattr(descriptions, "_BLOBS_ADDED_MAX", 3)
    size = sum(content(one).values()) + sum(content(two).values())
    assert listed(town, "multi")["size"] == size


def test_outlines_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlines, "_PARTS_KEPT_MAX", 20)
    kept = outlines.Outlines()
    digests = [Digest.of_bytes(bytes([number])) for number in range(12)]
    keys = [(digest, "a/type") for digest in digests]
    small = Outline(1, "a/type", "image", False, 1, digests[0].key(), bytes(8))
    large = Outline(1, "a/type", "image", False, 1, b"".join(d.key() for d in digests), bytes(96))
    for key in keys[:10]:
        kept.put(key, small)
    assert kept.get(keys[0]) is small
    assert kept.get((digests[0], "another/type")) is None
    kept.put(keys[10], small)
    assert kept.get(keys[0]) is None
    assert kept.get(keys[10]) is small
    kept.put(keys[11], large)
    assert kept.get(keys[11]) is None


# ---- names of files ----------------------------------------------------------------------------
def test_files_of_an_artifact_have_their_names(town: Town) -> None:
    push(town, b"{}")
    titles: list[tuple[dict[str, str] | None, str]] = [
        ({TITLE: "weights <of> the model.bin"}, "weights <of> the model.bin"),
        ({"org.cncf.model.filepath": "src/main.py"}, "src/main.py"),
        ({"org.cnai.model.filepath": "old.py"}, "old.py"),
        ({"org.cncf.model.filepath": "b", TITLE: "a"}, "a"),
        ({TITLE: ""}, ""),
        ({}, ""),
        (None, ""),
    ]
    layers = [descriptor(b"app", "text/plain", annotations=one) for one, _ in titles]
    fields = {"artifactType": "application/x.y", "layers": layers}
    put(town, image_manifest(fields=fields), "files")
    assert [layer["title"] for layer in shown(town, "files")["layers"]] == [t for _, t in titles]


@pytest.mark.long
def test_blobs_of_an_artifact_manifest_are_its_files(town: Town) -> None:
    blob = descriptor(b"app", "text/plain", annotations={TITLE: "a.txt"})
    document = {"mediaType": OCI_ARTIFACT_MANIFEST, "artifactType": "a/b", "blobs": [blob]}
    put(town, json.dumps(document).encode(), "old", OCI_ARTIFACT_MANIFEST)
    (layer,) = shown(town, "old")["layers"]
    assert (layer["title"], layer["size"], layer["mediaType"]) == ("a.txt", 3, "text/plain")
    assert listed(town, "old")["layers"] == 1


@pytest.mark.long
def test_entries_of_an_index_have_their_names(town: Town) -> None:
    child = image_for(town, "linux", "amd64", b"app")
    entry = descriptor(child, OCI_MANIFEST, annotations={TITLE: "the first"})
    put(town, index_manifest(entry), "named", OCI_INDEX)
    assert [one["title"] for one in shown(town, "named")["platforms"]] == ["the first"]


# ---- platforms ---------------------------------------------------------------------------------
def test_an_index_without_platforms_has_those_of_its_images(town: Town) -> None:
    one = image_for(town, "linux", "amd64", b"one")
    two = image_for(town, "linux", "arm64", b"two", variant="v8")
    three = image_for(town, "linux", "riscv64", b"three")
    said = {"os": "freebsd", "architecture": "riscv64"}
    entries = [
        descriptor(one, OCI_MANIFEST),
        descriptor(two, OCI_MANIFEST, platform={"os": "", "architecture": ""}),
        descriptor(three, OCI_MANIFEST, platform=said),
    ]
    put(town, index_manifest(*entries), "multi", OCI_INDEX)
    wanted = ["linux/amd64", "linux/arm64/v8", "freebsd/riscv64"]
    assert listed(town, "multi")["platforms"] == wanted
    assert [child["platform"] for child in shown(town, "multi")["platforms"]] == wanted
    rows = town.api("rita", "GET", f"{APP}/manifests")["manifests"]
    assert next(row["platforms"] for row in rows if row["tags"] == ["multi"]) == wanted
    put(town, index_manifest(entries[1]), "arm", OCI_INDEX)
    compared = town.api("rita", "GET", f"{APP}/compare?from=multi&to=arm")
    assert compared["platform"] == "linux/arm64/v8"
    delete(town, str(Digest.of_bytes(one)))
    assert listed(town, "multi")["platforms"] == wanted[1:]


@pytest.mark.long
def test_so_many_configs_are_read_for_an_answer(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = ("amd64", "arm64", "riscv64")
    children = [image_for(town, "linux", machine, machine.encode()) for machine in machines]
    entries = [descriptor(child, OCI_MANIFEST) for child in children]
    put(town, index_manifest(*entries), "multi", OCI_INDEX)
    monkeypatch.setattr(configs, "_CONFIGS_READ_MAX", 2)
    monkeypatch.setattr(configs, "_platforms", {})
    found = listed(town, "multi")
    assert found["platforms"] == ["linux/amd64", "linux/arm64"]
    assert not found["isExact"]


@pytest.mark.long
def test_attestations_in_an_index_are_no_platforms(town: Town) -> None:
    child = image_for(town, "linux", "amd64", b"one")
    push(town, b"statement")
    layers = [descriptor(b"statement", "application/vnd.in-toto+json")]
    about = image_manifest(config=b"{}", fields={"layers": layers})
    put(town, about)
    nowhere = {"os": "unknown", "architecture": "unknown"}
    entries = [descriptor(child, OCI_MANIFEST), descriptor(about, OCI_MANIFEST, platform=nowhere)]
    put(town, index_manifest(*entries), "multi", OCI_INDEX)
    assert listed(town, "multi")["platforms"] == ["linux/amd64"]
    assert [one["kind"] for one in shown(town, "multi")["platforms"]] == ["image", "attestation"]


# ---- dates -------------------------------------------------------------------------------------
def test_an_image_without_a_date_has_none(town: Town) -> None:
    history = [{"created": "1970-01-01T00:00:00Z", "created_by": "COPY a /a"}]
    image = image_for(town, "linux", "amd64", b"a", created="0001-01-01T00:00:00Z", history=history)
    put(town, image, "none")
    dated = image_for(town, "linux", "amd64", b"a", created="2026-01-01T00:00:00Z")
    put(town, dated, "dated")
    assert listed(town, "none")["created"] == shown(town, "none")["created"] == ""
    assert shown(town, "none")["layers"][0]["created"] == ""
    changes = town.api("rita", "GET", f"{APP}/compare?from=none&to=dated")["changes"]
    assert {"field": "created", "before": "", "after": "2026-01-01T00:00:00Z"} in changes


# ---- build caches ------------------------------------------------------------------------------
def _cache(town: Town) -> tuple[bytes, list[bytes]]:
    """Return the index that BuildKit exports with image-manifest=false, and its blobs."""
    blobs = [b"layer of a cache" * 60, b"another layer", b'{"layers":[],"records":[]}']
    push(town, *blobs)
    entries = [descriptor(blob, LAYER) for blob in blobs[:2]]
    entries.append(descriptor(blobs[2], CACHE_CONFIG))
    index = index_manifest(*entries, entries[0])
    put(town, index, "cache", OCI_INDEX)
    return index, blobs


def test_a_build_cache_has_its_blobs(town: Town) -> None:
    index, blobs = _cache(town)
    size = sum(map(len, blobs))
    found = listed(town, "cache")
    assert (found["kind"], found["size"], found["platforms"]) == ("build cache", size, [])
    cache = shown(town, "cache")
    assert (cache["kind"], cache["size"]) == ("build cache", size)
    entries = {(e["kind"], e["isThere"], e["isOnlyHere"]) for e in cache["platforms"]}
    assert entries == {("blob", True, True)}
    assert [entry["size"] for entry in cache["platforms"]] == [*map(len, blobs), len(blobs[0])]
    used = usage(town, "cache")
    assert (used["logicalBytes"], used["blobs"]) == (size + len(index), 3)
    assert used["freedBytes"] == used["uniqueBytes"] > 0
    assert preview(town, str(Digest.of_bytes(index)))["freedBytes"] == used["freedBytes"]


@pytest.mark.long
def test_a_blob_of_a_build_cache_that_is_gone_is_told(town: Town) -> None:
    _, blobs = _cache(town)
    put(town, image_manifest(blobs[1]), "user")
    url = f"/v2/acme/app/blobs/{Digest.of_bytes(blobs[0])}"
    assert town.client.delete(url, headers=basic("admin")).status_code == 202
    there = [(e["isThere"], e["isOnlyHere"]) for e in shown(town, "cache")["platforms"]]
    assert there == [(False, False), (True, False), (True, True), (False, False)]
    assert listed(town, "cache")["size"] == len(blobs[1] + blobs[2])


@pytest.mark.long
def test_the_trash_frees_the_blobs_of_a_build_cache(town: Town) -> None:
    index, blobs = _cache(town)
    assert town.api("admin", "GET", "admin/storage?trash=true")["trashBytes"] == 0
    delete(town, str(Digest.of_bytes(index)))
    freed = town.api("admin", "GET", "admin/storage?trash=true")["trashBytes"]
    assert freed >= sum(map(len, blobs))


@pytest.mark.long
def test_a_blob_is_no_image_of_an_index(town: Town) -> None:
    """A deleted image is absent, even if its bytes were also pushed as a blob."""
    child = image_for(town, "linux", "amd64", b"one")
    put(town, index_manifest(descriptor(child, OCI_MANIFEST)), "multi", OCI_INDEX)
    push(town, child)
    delete(town, str(Digest.of_bytes(child)))
    assert [one["isThere"] for one in shown(town, "multi")["platforms"]] == [False]

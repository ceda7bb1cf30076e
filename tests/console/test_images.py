"""Pages of tags and images: commands, history and comparison."""

from __future__ import annotations

import json
from typing import Any

import pytest
from markupsafe import escape

from dtrfast.identity.events import Event, EventReader
from tests.api.managed.test_deletion import delete, image, put
from tests.api.managed.town import Town, basic
from tests.console.browser import Browser
from tests.console.test_bounds import push_blob
from tests.fakes.client import descriptor, image_manifest, index_manifest

APP = "/repositories/acme/app"
INDEX = "application/vnd.oci.image.index.v1+json"
CACHE_CONFIG = "application/vnd.buildkit.cacheconfig.v0"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
HELM = "application/vnd.cncf.helm.config.v1+json"


def push_artifact(town: Town, tag: str, config_type: str) -> str:
    manifest = json.loads(image_manifest(b"app"))
    manifest["config"]["mediaType"] = config_type
    manifest["layers"][0]["mediaType"] = config_type.replace("config", "chart.content")
    return put(town, json.dumps(manifest).encode(), tag)


def test_commands_are_those_of_what_it_is(town: Town) -> None:
    digest = push_artifact(town, "1.0_b", HELM)
    other = push_artifact(town, "thing", "application/vnd.example.config+json")
    rita = Browser(town, "rita")
    chart = rita.get(f"{APP}/-/tags/1.0_b").text
    assert "helm pull oci://registry/acme/app --version 1.0+b" in chart
    assert "docker pull" not in chart
    assert f"helm pull oci://registry/acme/app@{digest}" in (
        rita.get(f"{APP}/-/manifests/{digest}").text
    )
    assert "oras pull registry/acme/app:thing" in rita.get(f"{APP}/-/tags/thing").text
    assert f"oras pull registry/acme/app@{other}" in rita.get(f"{APP}/-/manifests/{other}").text


def test_an_empty_repository_offers_what_fills_it(town: Town) -> None:
    town.api("owen", "POST", "repositories/acme", {"name": "empty"}, 201)
    owen = Browser(town, "owen")
    for page in ("", "/-/tags"):
        text = owen.get(f"/repositories/acme/empty{page}").text
        assert "docker push registry/acme/empty:TAG" in text
        assert "docker pull" not in text


def test_the_present_state_of_a_tag_is_not_restored(town: Town) -> None:
    first, second = put(town, image("1"), "a"), put(town, image("2"), "a")
    town.api("will", "POST", "repositories/acme/app/tags/a/restore", {})
    text = Browser(town, "will").get(f"{APP}/-/tags/a").text
    assert f'name="body.digest" value="{second}"' in text
    assert f'name="body.digest" value="{first}"' not in text
    assert f"/-/manifests/{second}" in text


def test_two_are_compared_from_the_one_that_was_set_first(town: Town) -> None:
    put(town, image("1"), "z")
    town.clock.now += 60
    put(town, image("2"), "b")
    put(town, image("3"), "a")
    rita = Browser(town, "rita")
    for chosen, wanted in ((("b", "z"), ("z", "b")), (("b", "a"), ("a", "b"))):
        text = rita.get(f"{APP}/-/compare?tag={chosen[0]}&tag={chosen[1]}").text
        assert f"acme/app: {wanted[0]} → {wanted[1]}" in text


def test_a_platform_of_two_indexes_can_be_chosen(town: Town) -> None:
    for name in ("1", "2"):
        rows = []
        for machine in ("amd64", "arm64"):
            config = json.dumps({"os": "linux", "architecture": machine, "author": name}).encode()
            push_blob(town, config)
            body = image_manifest(b"app", config=config)
            put(town, body)
            where = {"os": "linux", "architecture": machine}
            rows.append(
                {
                    **descriptor(body, "application/vnd.oci.image.manifest.v1+json"),
                    "platform": where,
                }
            )
        put(town, index_manifest(*rows), f"multi{name}", INDEX)
    query = "from=multi1&to=multi2"
    text = Browser(town, "rita").get(f"{APP}/-/compare?{query}&platform=linux/arm64").text
    assert '<option value="linux/arm64" selected>' in text
    assert '<option value="linux/amd64">' in text
    swap = "from=multi2&amp;to=multi1&amp;platform=linux/arm64"
    assert swap in text


def test_events_of_a_repository_are_told_in_words(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The town keeps its events in memory, so the test replaces the reader of event files."""

    def page(*given: Any) -> tuple[list[Event], str]:
        return [one for one in town.events.all if given[1].admits(one, b"")], ""

    monkeypatch.setattr(EventReader, "page", page)
    digest = put(town, image("1"), "a")
    delete(town, digest)
    town.api("will", "POST", f"repositories/acme/app/manifests/{digest}/restore")
    delete(town, "a")
    town.api("will", "POST", "repositories/acme/app/tags/a/restore", {})
    ada = Browser(town, "ada")
    text = ada.get(f"{APP}/-/activity").text
    for words in ("Tag pushed", "Image deleted", "Image restored", "Tag deleted", "Tag restored"):
        assert words in text
    assert f"</span> {digest.partition(':')[2][:12]}</span>" in text
    assert f'/manifests/{digest}"><code>{digest}</code></a>' in text
    assert " B\n" in text or " B</" in text or " B " in text
    assert "Pulls" not in text
    restores = ada.get(f"{APP}/-/activity?kind=tag.restore,manifest.restore").text
    assert "Image restored" in restores
    assert "Tag restored" in restores
    assert "Tag pushed" not in restores


@pytest.mark.long
def test_a_page_names_files_platforms_and_dates_as_they_are(town: Town) -> None:
    """Artifacts show their files, indexes the platforms of their images; 1970 is no date."""
    notes = {"org.opencontainers.image.title": "weights <1>.bin"}
    layers = [descriptor(b"app", "application/octet-stream", annotations=notes)]
    fields = {"artifactType": "application/x.y", "layers": layers}
    put(town, image_manifest(fields=fields), "files")
    rita = Browser(town, "rita")
    for page in ("tags/files", "compare?from=v1&to=files"):
        assert "<code>weights &lt;1&gt;.bin</code>" in rita.get(f"{APP}/-/{page}").text
    config = {"os": "linux", "architecture": "arm64", "created": "1970-01-01T00:00:00Z"}
    body = json.dumps(config).encode()
    push_blob(town, body)
    image = image_manifest(b"app", config=body)
    put(town, image, "undated")
    put(town, index_manifest(descriptor(image, OCI_MANIFEST)), "multi", INDEX)
    assert "<dd>not given</dd>" in rita.get(f"{APP}/-/tags/undated").text
    for page in ("tags/undated", "compare?from=v1&to=undated"):
        assert "1970" not in rita.get(f"{APP}/-/{page}").text
    assert (
        '<th scope="row">\n                    linux/arm64' in rita.get(f"{APP}/-/tags/multi").text
    )
    (row,) = [row for row in rita.get(f"{APP}/-/tags").text.split("<tr") if ">multi<" in row]
    assert "linux/arm64" in row


def test_a_build_cache_is_shown_with_what_is_in_it(town: Town) -> None:
    blobs = (b"a layer of a cache", b"{}")
    types = ("application/vnd.oci.image.layer.v1.tar+zstd", CACHE_CONFIG)
    for blob in blobs:
        push_blob(town, blob)
    entries = [descriptor(blob, kind) for blob, kind in zip(blobs, types, strict=True)]
    digest = put(town, index_manifest(*entries), "cache", INDEX)
    rita = Browser(town, "rita")
    text = rita.get(f"{APP}/-/tags/cache").text
    assert "build cache" in text
    assert "20 B" in text
    assert "deleted" not in text
    assert "--cache-from type=registry,ref=registry/acme/app:cache" in text
    assert "docker pull" not in text
    assert f"ref=registry/acme/app@{digest}" in rita.get(f"{APP}/-/manifests/{digest}").text
    assert "build cache" in rita.get(f"{APP}/-/tags").text


@pytest.mark.long
def test_a_comparison_adds_each_layer_once(town: Town) -> None:
    blob = b"x" * 1000
    push_blob(town, blob)
    put(town, image_manifest(blob, blob, config=blob), "twice")
    text = Browser(town, "rita").get(f"{APP}/-/compare?from=v1&to=twice").text
    assert 'Added layers <small class="faint">2, 1000 B</small>' in text
    assert "→ 1000 B" in text


BAD_LAYER: dict[str, Any] = {"annotations": {"x": 1}}
FAULT = 'layers[0].annotations["x"] is a number: clients can read only text there'
OCI = "application/vnd.oci.image.manifest.v1+json"


def odd_image(start: bytes = b"", **fields: object) -> bytes:
    manifest = json.loads(image_manifest(b"app"))
    manifest["layers"][0].update(fields)
    return start + json.dumps(manifest).encode()


def test_an_image_that_clients_cannot_read_is_marked(town: Town) -> None:
    digest = town.keep_manifest("odd", odd_image(**BAD_LAYER), OCI)
    owen, app = Browser(town, "owen"), "repositories/acme/app"
    for page in ("tags/odd", f"manifests/{digest}", "tags"):
        assert escape(FAULT) in owen.get(f"{APP}/-/{page}").text
        assert "lients cannot pull this" in owen.get(f"{APP}/-/{page}").text
    assert "lients cannot pull this" not in owen.get(f"{APP}/-/tags/v1").text
    assert town.api("owen", "GET", f"{app}/manifests/odd")["fault"] == FAULT
    assert town.api("owen", "GET", f"{app}/manifests/v1")["fault"] == ""
    found = town.api("owen", "GET", f"{app}/images")["images"]
    assert {one["tag"]: one["fault"] for one in found} == {"odd": FAULT, "v1": ""}
    town.api("owen", "DELETE", f"{app}/manifests/odd", status=204)
    assert escape(FAULT) in owen.get(f"{APP}/-/untagged").text
    rows = town.api("owen", "GET", f"{app}/manifests?untagged=true")["manifests"]
    assert [(one["digest"], one["fault"]) for one in rows] == [(digest, FAULT)]


@pytest.mark.long
def test_what_clients_cannot_read_is_pulled_deleted_and_restored(town: Town) -> None:
    app, blob = "repositories/acme/app", image_manifest(b"app")
    child = {**descriptor(blob, OCI), "platform": "linux/amd64"}
    bodies = {
        "layer": (odd_image(**BAD_LAYER), OCI),
        "mark": (odd_image(b"\xef\xbb\xbf"), OCI),
        "index": (b"\xef\xbb\xbf" + index_manifest(child), INDEX),
        "version": (odd_image().replace(b'"schemaVersion"', b'"version"'), OCI),
        "nothing": (b"\xff[", OCI),
    }
    for tag, (body, media_type) in bodies.items():
        digest = town.keep_manifest(tag, body, media_type)
        assert town.api("owen", "GET", f"{app}/manifests/{tag}")["fault"], tag
        for _ in range(2):
            got = town.client.get(f"/v2/acme/app/manifests/{tag}", headers=basic("owen"))
            assert (got.content, got.headers["content-type"]) == (body, media_type)
            town.api("owen", "GET", f"{app}/deletion?references={digest}")
            town.api("owen", "POST", f"{app}/deletion", {"references": [digest]})
            for page in ("trash", "tags", "untagged"):
                assert Browser(town, "owen").get(f"{APP}/-/{page}").status_code == 200
            town.api("owen", "POST", f"{app}/manifests/{digest}/restore")
        for page in (f"tags/{tag}", f"compare?from={tag}&to=v1", f"delete-tags?tag={tag}"):
            assert Browser(town, "owen").get(f"{APP}/-/{page}").status_code in (200, 404), tag


def test_a_referrer_shows_null_annotations_as_empty(town: Town) -> None:
    subject = descriptor(image_manifest(b"app"), OCI)
    manifest = json.loads(image_manifest(b"app", fields={"subject": subject}))
    manifest["annotations"] = {"a": None, "b": "c"}
    put(town, json.dumps(manifest).encode(), "about")
    found = town.api("owen", "GET", "repositories/acme/app/manifests/v1")["referrers"]
    assert [one["annotations"] for one in found] == [{"a": "", "b": "c"}]
    listed = town.client.get(f"/v2/acme/app/referrers/{subject['digest']}", headers=basic("owen"))
    assert listed.json()["manifests"][0]["annotations"] == {"a": "", "b": "c"}
    assert Browser(town, "owen").get(f"{APP}/-/tags/v1").status_code == 200

"""Lists of tags: signatures and their kind fold into their images; versions and times sort."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import OCI_INDEX, OCI_MANIFEST
from dtrfast.registry import attachments, listing, outlines
from dtrfast.registry.pages import BoundedScan
from tests.api.managed.test_deletion import image, put
from tests.api.managed.town import Town, basic
from tests.fakes.client import descriptor, image_manifest, index_manifest

APP = "repositories/acme/app"


def tag_of(digest: str, end: str = "") -> str:
    """Return the tag under which clients keep a signature, or a list of referrers."""
    return digest.replace(":", "-") + end


def listed(town: Town, **query: str) -> Any:
    return town.api("rita", "GET", f"{APP}/images", params={"folded": "true", **query})


def names(found: Any) -> list[str]:
    return [one["tag"] for one in found["images"]]


def about(body: bytes, artifact_type: str) -> bytes:
    """Return a manifest whose subject is another one."""
    fields = {"artifactType": artifact_type, "subject": descriptor(body, OCI_MANIFEST)}
    return image_manifest(b"app", fields=fields)


def test_signatures_fold_into_their_image(town: Town) -> None:
    digest = put(town, image("one"), "one")
    for end in (".sig", ".att", ".sbom"):
        put(town, image(end), tag_of(digest, end))
    lost = tag_of(str(Digest.of_bytes(b"elsewhere")), ".sig")
    put(town, image("lost"), lost)
    found = listed(town)
    assert names(found) == ["one", lost, "v1"]
    assert (found["count"], found["folded"]) == (6, 3)
    attached = {one["tag"]: one["attached"] for one in found["images"]}
    assert attached["one"] == ["signature", "SBOM", "attestation"]
    assert attached["v1"] == []
    # Clients that do not ask for it get all tags.
    everything = town.api("rita", "GET", f"{APP}/images")
    assert len(everything["images"]) == 6
    assert everything["folded"] == 0
    by_filter = listed(town, filter=".sig")
    assert (names(by_filter), by_filter["folded"]) == ([lost], 1)
    # Without its image a signature is a row of its own.
    town.api("owen", "DELETE", f"{APP}/manifests/{digest}", status=204)
    assert listed(town)["folded"] == 0
    assert tag_of(digest, ".sig") in names(listed(town))


def test_referrers_and_lists_of_them_count_as_well(town: Town) -> None:
    body = image("one")
    digest = put(town, body, "one")
    put(town, about(body, "application/vnd.cyclonedx+json"))
    assert listed(town)["images"][0]["attached"] == ["SBOM"]
    # A copy from a registry without the referrers API has a list under a tag.
    signature = image_manifest(
        b"app", fields={"artifactType": "application/vnd.cosign.artifact.sig"}
    )
    put(town, signature)
    rows = [descriptor(one, OCI_MANIFEST) for one in (signature,)]
    put(town, index_manifest(*rows), tag_of(digest), OCI_INDEX)
    found = listed(town)
    assert names(found) == ["one", "v1"]
    assert found["images"][0]["attached"] == ["signature", "SBOM"]
    shown = town.api("rita", "GET", f"{APP}/manifests/one")["referrers"]
    assert [(one["kind"], one["tag"]) for one in shown] == [
        ("SBOM", ""),
        ("list of referrers", tag_of(digest)),
        ("signature", ""),
    ]
    # The list may also name a manifest that has a tag.
    tagged = image_manifest(b"app", fields={"artifactType": "application/spdx+json"})
    put(town, tagged, tag_of(digest, ".sbom"))
    rows += [descriptor(tagged, OCI_MANIFEST), *rows]
    put(town, index_manifest(*rows), tag_of(digest), OCI_INDEX)
    again = town.api("rita", "GET", f"{APP}/manifests/one")["referrers"]
    assert [(one["kind"], one["tag"]) for one in again] == [
        ("SBOM", ""),
        ("SBOM", tag_of(digest, ".sbom")),
        ("list of referrers", tag_of(digest)),
        ("signature", ""),
    ]
    untagged = town.api("rita", "GET", f"{APP}/manifests")["manifests"]
    assert {one["digest"]: one["attached"] for one in untagged}[digest] == ["signature", "SBOM"]


def test_lists_of_referrers_that_are_only_counted_hide_no_kind(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    signature = image_manifest(
        b"app", fields={"artifactType": "application/vnd.cosign.artifact.sig"}
    )
    put(town, signature)
    lists = []
    for number in range(8):
        digest = put(town, image(str(number)), f"a{number}")
        rows = index_manifest(descriptor(signature, OCI_MANIFEST), annotations={"n": str(number)})
        put(town, rows, tag_of(digest), OCI_INDEX)
        lists.append(rows)
    # A worker has no outlines before its first request.
    monkeypatch.setattr(outlines, "_outlines", outlines.Outlines())
    monkeypatch.setattr(attachments, "_PARSED_SIZE_MAX", len(signature) + 2 * len(lists[0]))
    found = listed(town, limit="1")
    assert (names(found), found["folded"]) == (["a0"], 8)
    assert found["images"][0]["attached"] == ["signature"]


def test_an_image_under_a_digest_as_its_tag_is_no_attachment(town: Town) -> None:
    """Tools give images their own digest, or that of another image, as a tag."""
    digest = put(town, image("one"), "one")
    put(town, image("one"), tag_of(digest))
    index = put(town, index_manifest(annotations={"n": "1"}), "index", OCI_INDEX)
    put(town, index_manifest(annotations={"n": "1"}), tag_of(index), OCI_INDEX)
    other = put(town, image("two"), "two")
    put(town, image("three"), tag_of(other))
    found = listed(town)
    assert found["folded"] == 0
    assert len(found["images"]) == found["count"] == 7
    assert all(one["attached"] == [] for one in found["images"])


def test_an_attestation_of_a_builder_is_no_platform(town: Town) -> None:
    rows = []
    for number, (machine, notes) in enumerate(
        (
            ("amd64", {}),
            ("unknown", {"vnd.docker.reference.type": "attestation-manifest"}),
            ("unknown", {}),
        )
    ):
        body = image(str(number))
        put(town, body)
        where = {"os": "linux" if machine == "amd64" else machine, "architecture": machine}
        rows.append({**descriptor(body, OCI_MANIFEST), "platform": where, "annotations": notes})
    put(town, index_manifest(*rows), "multi", OCI_INDEX)
    multi = listed(town)["images"][0]
    assert (multi["platforms"], multi["attached"]) == (["linux/amd64"], ["attestation"])
    shown = town.api("rita", "GET", f"{APP}/manifests/multi")["platforms"]
    assert [(one["platform"], one["kind"]) for one in shown] == [
        ("linux/amd64", "image"),
        ("", "attestation"),
        ("", "image"),
    ]


@pytest.mark.parametrize("sort", ["name", "-name", "version", "-version", "pushed", "-pushed"])
def test_pages_are_full_and_lead_to_each_tag_once(town: Town, sort: str) -> None:
    for number in range(7):
        digest = put(town, image(str(number)), f"a{number}")
        for end in (".sig", ".att", ".sbom"):
            put(town, image(str(number) + end), tag_of(digest, end))
    seen, start = [], ""
    while True:
        found = listed(town, sort=sort, limit="3", start=start)
        seen += names(found)
        start = found["nextPageStart"]
        assert found["folded"] == 21
        if not start:
            break
        assert len(found["images"]) == 3
    assert sorted(seen) == [*(f"a{number}" for number in range(7)), "v1"]


def test_a_page_passes_over_a_bounded_number_of_folded_tags(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page may end before it is full, and then leads on; long lists are counted by name."""
    digest = put(town, image("one"), "one")
    put(town, image("sig"), tag_of(digest, ".sig"))
    lost = tag_of(str(Digest.of_bytes(b"elsewhere")), ".sig")
    put(town, image("lost"), lost)
    monkeypatch.setattr(attachments, "_FOLDED_MAX", 0)
    assert listed(town)["folded"] == 2

    class OneEntry(BoundedScan[Any]):
        def __iter__(self) -> Any:
            entries = iter(self._entries)
            yield next(entries)
            self.rest = list(entries)[:1]

    def scan(entries: Iterable[Any], *seconds: float) -> BoundedScan[Any]:
        return (OneEntry if seconds else BoundedScan)(entries, *seconds)

    monkeypatch.setattr(listing, "BoundedScan", scan)
    seen, start = [], ""
    for _ in range(4):
        found = listed(town, sort="-pushed", start=start)
        seen.append(names(found))
        start = found["nextPageStart"]
    assert (seen, start) == ([[lost], [], ["one"], ["v1"]], "")


def test_tags_of_one_second_are_in_the_order_of_their_pushes(town: Town) -> None:
    """The clock of the town stands still."""
    for tag in ("m", "b", "z", "a"):
        put(town, image(tag), tag)
    put(town, image("b"), "b")
    assert names(listed(town, sort="-pushed")) == ["b", "a", "z", "m", "v1"]
    assert names(listed(town, sort="pushed")) == ["v1", "m", "z", "a", "b"]


def test_versions_sort_as_versions_and_the_tag_list_as_text(town: Town) -> None:
    for tag in ("v1.10", "v1.9", "1.10.0-rc.1", "1.10.0", "main"):
        put(town, image(tag), tag)
    wanted = ["v1", "v1.9", "v1.10", "1.10.0-rc.1", "1.10.0", "main"]
    assert names(listed(town, sort="version")) == wanted
    assert names(listed(town, sort="-version")) == wanted[::-1]
    assert names(listed(town, sort="version", start="2", limit="2")) == wanted[2:4]
    answer = town.client.get("/v2/acme/app/tags/list", headers=basic("rita"))
    assert json.loads(answer.content)["tags"] == sorted(wanted)
    town.api("rita", "GET", f"{APP}/manifests?sort=version", status=400)

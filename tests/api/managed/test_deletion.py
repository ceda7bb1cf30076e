"""Deletions of many images: what they take along, what they break, and the one way to undo them."""

from __future__ import annotations

from typing import Any

from dtrfast.index.tables import TRASH
from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import OCI_INDEX, OCI_MANIFEST
from dtrfast.registry import pulls
from tests.api.managed.town import Town, basic
from tests.fakes.client import descriptor, image_manifest, index_manifest

APP = "repositories/acme/app"


def put(town: Town, body: bytes, reference: str = "", media_type: str = OCI_MANIFEST) -> str:
    answer = town.client.put(
        f"/v2/acme/app/manifests/{reference or Digest.of_bytes(body)}",
        headers={**basic("will"), "content-type": media_type},
        content=body,
    )
    assert answer.status_code == 201, answer.text
    return str(Digest.of_bytes(body))


def image(name: str) -> bytes:
    return image_manifest(b"app", fields={"annotations": {"n": name}})


def index_of(*children: bytes, name: str = "") -> bytes:
    entries = [descriptor(child, OCI_MANIFEST) for child in children]
    return index_manifest(*entries, annotations={"n": name})


def status(town: Town, reference: str) -> int:
    path = f"/v2/acme/app/manifests/{reference}"
    return town.client.get(path, headers=basic("admin")).status_code


def delete(town: Town, *references: str, who: str = "will", status: int = 200) -> Any:
    return town.api(who, "POST", f"{APP}/deletion", {"references": list(references)}, status)


def preview(town: Town, *references: str, who: str = "admin") -> Any:
    query = {"references": ",".join(references)}
    return town.api(who, "GET", f"{APP}/deletion", params=query)


def test_an_index_takes_along_what_only_it_names(town: Town) -> None:
    alone, tagged, shared = image("alone"), image("tagged"), image("shared")
    digests = [put(town, alone), put(town, tagged, "arm"), put(town, shared)]
    index = put(town, index_of(alone, tagged, shared), "multi", OCI_INDEX)
    put(town, index_of(shared, name="other"), "other", OCI_INDEX)
    shown = town.api("rita", "GET", f"{APP}/manifests/multi")["platforms"]
    assert [one["isOnlyHere"] for one in shown] == [True, False, False]
    assert preview(town, "multi")["companions"] == 1
    gone = delete(town, index)
    assert set(gone["manifests"]) == {index, digests[0]}
    assert gone["tags"] == ["multi"]
    assert [status(town, one) for one in digests] == [404, 200, 200]
    town.api("will", "POST", f"{APP}/deletion/{gone['run']}/restore")
    assert [status(town, one) for one in (*digests, "multi")] == [200] * 4


def test_two_indexes_take_along_what_both_name(town: Town) -> None:
    child = image("child")
    digest = put(town, child)
    one = put(town, index_of(child, name="1"), "one", OCI_INDEX)
    two = put(town, index_of(child, name="2"), "two", OCI_INDEX)
    assert preview(town, "one")["companions"] == 0
    assert preview(town, "one", "two")["companions"] == 1
    assert set(delete(town, one, two)["manifests"]) == {one, two, digest}


def test_an_image_says_which_indexes_and_signatures_need_it(town: Town) -> None:
    child = image("child")
    digest = put(town, child, "arm")
    index = put(town, index_of(child), "multi", OCI_INDEX)
    subject = descriptor(child, OCI_MANIFEST)
    fields = {"artifactType": "application/spdx+json", "subject": subject}
    sbom = put(town, image_manifest(b"app", fields=fields))
    use = {"digest": index, "tags": ["multi"], "image": digest}
    assert town.api("rita", "GET", f"{APP}/manifests/arm")["usedBy"] == [use]
    shown = preview(town, "arm")
    assert shown["usedBy"] == [use]
    assert [(one["digest"], one["kind"]) for one in shown["referrers"]] == [(sbom, "SBOM")]
    assert preview(town, "arm", "multi")["usedBy"] == [], "the index is deleted as well"


def test_any_number_of_tags_comes_back_by_one_call(town: Town) -> None:
    names = [f"release-{number:03d}" for number in range(150)]
    for name in names:
        put(town, image("many"), name)
    gone = delete(town, *names)
    assert gone["tags"] == names
    assert status(town, names[0]) == 404
    town.api("rita", "POST", f"{APP}/deletion/{gone['run']}/restore", status=403)
    town.api("nora", "POST", f"{APP}/deletion/{gone['run']}/restore", status=404)
    back = town.api("will", "POST", f"{APP}/deletion/{gone['run']}/restore")
    assert (back["tags"], back["tagsTaken"]) == (names, [])
    assert {status(town, name) for name in names} == {200}


def test_a_restored_deletion_leaves_what_is_newer(town: Town) -> None:
    put(town, image("1"), "a")
    put(town, image("1"), "b")
    gone = delete(town, "a", "b", "c")
    assert gone["missing"] == ["c"]
    newer = put(town, image("2"), "a")
    back = town.api("will", "POST", f"{APP}/deletion/{gone['run']}/restore")
    assert (back["tags"], back["tagsTaken"]) == (["b"], ["a"])
    assert town.api("rita", "GET", f"{APP}/manifests/a")["digest"] == newer
    delete(town, "c", status=404)


def test_a_run_of_elsewhere_or_none_restores_nothing(town: Town) -> None:
    put(town, image("1"), "a")
    run = delete(town, "a")["run"]
    for wrong in ("none", "1-2", "9" * 30, f"{town.clock()}-00000000"):
        town.api("will", "POST", f"{APP}/deletion/{wrong}/restore", status=404)
    town.api("owen", "POST", f"repositories/acme/open/deletion/{run}/restore", status=404)
    assert status(town, "a") == 404


def test_a_user_without_the_right_deletes_nothing(town: Town) -> None:
    delete(town, "v1", who="rita", status=403)
    delete(town, "v1", who="nora", status=404)
    town.api("nora", "GET", f"{APP}/deletion?references=v1", status=404)
    assert status(town, "v1") == 200


def test_the_audit_says_which_tags_a_digest_took(town: Town) -> None:
    digest = put(town, image("1"), "a")
    put(town, image("1"), "b")
    delete(town, digest)
    assert town.events.of("delete")[-1].detail["tags"] == "a b"
    digest = put(town, image("1"), "a")
    town.api("will", "DELETE", f"{APP}/manifests/{digest}", status=204)
    assert town.events.of("delete")[-1].detail == {"reference": digest, "tags": "a"}
    put(town, image("1"), "a")
    path = f"/v2/acme/app/manifests/{digest}"
    assert town.client.delete(path, headers=basic("will")).status_code == 202
    assert town.events.of("delete")[-1].detail == {"reference": digest, "tags": "a"}


def test_what_deleting_frees_is_what_goes(town: Town) -> None:
    small, large = b"s" * 100, b"l" * 5000
    for layer in (small, large):
        url = f"/v2/acme/app/blobs/uploads/?digest={Digest.of_bytes(layer)}"
        town.client.post(url, headers=basic("will"), content=layer)
    one, two = image_manifest(small), image_manifest(large)
    put(town, one)
    put(town, two, "large")
    index = index_manifest(descriptor(one, OCI_MANIFEST), descriptor(two, OCI_MANIFEST))
    digest = put(town, index, "multi", OCI_INDEX)
    wanted = len(small) + len(one) + len(index)
    assert preview(town, "multi")["freedBytes"] == wanted
    usage = town.api("admin", "GET", f"{APP}/manifests/{digest}/usage")
    assert usage["freedBytes"] == usage["uniqueBytes"] == wanted
    assert usage["logicalBytes"] == wanted + len(large) + len(two) + len(b"{}")


# ---- images without a tag ----------------------------------------------------------------------
def test_untagged_are_those_that_nothing_keeps(town: Town) -> None:
    child, alone = image("child"), image("alone")
    put(town, child)
    put(town, index_of(child), "multi", OCI_INDEX)
    lost = put(town, alone)
    subject = descriptor(child, OCI_MANIFEST)
    put(town, image_manifest(b"app", fields={"subject": subject}))
    absent = descriptor(b"absent", OCI_MANIFEST)
    dangling = put(town, image_manifest(b"app", fields={"subject": absent}))
    found = town.api("rita", "GET", f"{APP}/manifests?untagged=true&sort=-pushed")["manifests"]
    assert {one["digest"] for one in found} == {lost, dangling}
    assert found[0]["imageSize"] == len(b"app") + len(b"{}")
    assert found[0]["kind"] == "image"
    part = lost.partition(":")[2][:12]
    found = town.api("rita", "GET", f"{APP}/manifests?untagged=true&filter={part}")
    assert [one["digest"] for one in found["manifests"]] == [lost]
    first = town.api("rita", "GET", f"{APP}/manifests?untagged=true&limit=1")
    query = f"untagged=true&limit=1&start={first['nextPageStart']}"
    second = town.api("rita", "GET", f"{APP}/manifests?{query}")
    assert {m["digest"] for page in (first, second) for m in page["manifests"]} == {lost, dangling}
    assert not second["nextPageStart"]


# ---- the trash ---------------------------------------------------------------------------------
def test_what_was_restored_is_not_listed_as_deleted(town: Town) -> None:
    put(town, image("1"), "a")
    put(town, image("1"), "b")
    delete(town, "a", "b")
    names = [one["name"] for one in town.api("owen", "GET", f"{APP}/trash?kind=tags")["tags"]]
    assert names == ["a", "b"]
    town.api("will", "POST", f"{APP}/tags/a/restore", {})
    (one,) = town.api("owen", "GET", f"{APP}/trash?kind=tags")["tags"]
    assert one["name"] == "b"


def test_many_come_out_of_the_trash_together(town: Town) -> None:
    digest = put(town, image("1"), "a")
    tagged = put(town, image("2"), "b")
    delete(town, digest, "b")
    references = [digest, f"b@{tagged}"]
    body = {"references": references}
    town.api("rita", "POST", f"{APP}/trash/restore", body, 403)
    back = town.api("will", "POST", f"{APP}/trash/restore", body)
    assert (back["manifests"], back["tags"]) == (1, ["a", "b"])
    assert status(town, "a") == status(town, "b") == 200
    town.api("will", "POST", f"{APP}/trash/restore", {"references": ["b"]}, 400)
    with town.engine.read() as transaction:
        rows = [key for key, _ in transaction.scan(TRASH) if key[8:9] == b"m"]
    assert rows == []


def test_list_and_page_tell_the_same_last_pull(town: Town) -> None:
    digest = put(town, image("1"), "a")
    put(town, image("1"), "b")
    pulls.note(town.engine, {("acme/app", "a"): town.clock()})
    listed = {i["tag"]: i["pulledAt"] for i in town.api("rita", "GET", f"{APP}/images")["images"]}
    for tag in ("a", "b"):
        shown = town.api("rita", "GET", f"{APP}/manifests/{tag}")
        assert shown["tagPulledAt"] == listed[tag]
        assert shown["pulledAt"] == listed["a"], "the image was pulled by any name"
    assert town.api("rita", "GET", f"{APP}/manifests/{digest}")["tagPulledAt"] == ""

"""The trash: users with the right restore deleted content until it expires; and its sizes."""

from __future__ import annotations

import pytest

from dtrfast.index.engine import Table
from dtrfast.index.tables import (
    GRANTS,
    LINKS_UNREFERENCED,
    MANIFESTS_DELETED,
    REFERENCES_DELETED,
    REPOSITORIES_TRASHED,
    TAG_HISTORY,
    TRASH,
    number_key,
)
from dtrfast.jobs.tasks import empty_trash, remove_repositories
from dtrfast.oci.digests import Digest
from dtrfast.registry import policing, restoring, trash_management
from tests.api.managed.town import Town, basic
from tests.fakes.client import descriptor, image_manifest, index_manifest

DAY = 86_400
APP = "repositories/acme/app"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def rows(town: Town, table: Table) -> int:
    with town.engine.read() as transaction:
        return sum(1 for _ in transaction.scan(table))


def digest_of_tag(town: Town, repository: str = "acme/app", tag: str = "v1") -> str:
    answer = town.client.head(f"/v2/{repository}/manifests/{tag}", headers=basic("admin"))
    return str(answer.headers.get("docker-content-digest", ""))


def status(town: Town, reference: str, repository: str = "acme/app") -> int:
    path = f"/v2/{repository}/manifests/{reference}"
    return town.client.get(path, headers=basic("admin")).status_code


def empty(town: Town) -> None:
    engine, holdings = town.engine, town.registry.holdings
    while empty_trash(engine, holdings, town.clock()) or remove_repositories(engine, town.blobs):
        pass


# ---- tags --------------------------------------------------------------------------------------
def test_a_tag_that_was_overwritten_goes_back(town: Town) -> None:
    first = digest_of_tag(town)
    town.clock.now += 60
    town.push("acme/app", b"second", who="will")
    second = digest_of_tag(town)
    states = town.api("owen", "GET", f"{APP}/tags/v1/history")["states"]
    assert [s["digest"] for s in states] == [second, first]
    assert (states[0]["setBy"], states[1]["setBy"]) == ("will", "owen")
    assert (states[1]["endedBy"], states[1]["ending"]) == ("will", "moved")
    assert states[1]["trashUntil"] == "2023-11-28T22:14:20.000Z"
    town.api("rita", "POST", f"{APP}/tags/v1/restore", {}, 403)
    town.api("nora", "POST", f"{APP}/tags/v1/restore", {}, 404)
    assert town.api("will", "POST", f"{APP}/tags/v1/restore", {})["digest"] == first
    assert digest_of_tag(town) == first
    again = town.api("will", "POST", f"{APP}/tags/v1/restore", {"digest": second})
    assert again["digest"] == second == digest_of_tag(town)


def test_a_deleted_tag_is_listed_and_comes_back(town: Town) -> None:
    digest = digest_of_tag(town)
    assert town.client.delete("/v2/acme/app/manifests/v1", headers=basic("will")).is_success
    assert status(town, "v1") == 404
    (tag,) = town.api("owen", "GET", f"{APP}/trash")["tags"]
    assert (tag["name"], tag["digest"], tag["deletedBy"]) == ("v1", digest, "will")
    town.api("will", "POST", f"{APP}/tags/v1/restore", {})
    assert digest_of_tag(town) == digest


def test_tags_go_on_only_in_a_list_of_tags(town: Town) -> None:
    """A list of both kinds has tags on its first page; its next pages have manifests."""
    for number in range(4):
        town.push("acme/app", b"layer", tag=f"t{number}")
        town.api("owen", "DELETE", f"{APP}/manifests/t{number}", status=204)
    first = town.api("owen", "GET", f"{APP}/trash?limit=2")
    assert (len(first["tags"]), first["nextPageStart"]) == (2, "")
    tags = town.api("owen", "GET", f"{APP}/trash?limit=2&kind=tags")
    more = f"{APP}/trash?limit=2&kind=tags&start={tags['nextPageStart']}"
    assert len(town.api("owen", "GET", more)["tags"]) == 2


def test_an_unknown_tag_cannot_be_restored(town: Town) -> None:
    town.api("will", "POST", f"{APP}/tags/never/restore", {}, 404)


def test_history_is_forgotten_when_its_time_is_over(town: Town) -> None:
    town.push("acme/app", b"second")
    town.clock.now += 14 * DAY - 1
    empty(town)
    assert len(town.api("owen", "GET", f"{APP}/tags/v1/history")["states"]) == 2
    town.clock.now += 1
    empty(town)
    assert len(town.api("owen", "GET", f"{APP}/tags/v1/history")["states"]) == 1
    assert rows(town, TAG_HISTORY) == rows(town, TRASH) == 0


def test_a_tag_pushed_once_or_again_with_the_same_has_no_history(town: Town) -> None:
    town.push("acme/app", b"app")
    assert rows(town, TAG_HISTORY) == 0


# ---- manifests ---------------------------------------------------------------------------------
def test_a_deleted_manifest_comes_back_with_its_tags(town: Town) -> None:
    digest = digest_of_tag(town)
    assert town.client.delete(f"/v2/acme/app/manifests/{digest}", headers=basic("will")).is_success
    assert status(town, "v1") == status(town, digest) == 404
    (manifest,) = town.api("owen", "GET", f"{APP}/trash")["manifests"]
    assert (manifest["digest"], manifest["tags"]) == (digest, ["v1"])
    town.api("rita", "POST", f"{APP}/manifests/{digest}/restore", status=403)
    town.clock.now += 13 * DAY
    empty(town)
    answer = town.api("will", "POST", f"{APP}/manifests/{digest}/restore")
    assert (answer["tags"], answer["tagsTaken"]) == (["v1"], [])
    assert digest_of_tag(town) == digest
    assert town.api("owen", "GET", f"{APP}/trash")["manifests"] == []
    assert rows(town, MANIFESTS_DELETED) == rows(town, REFERENCES_DELETED) == 0
    assert town.events.of("manifest.restore")[0].actor == "will"


def test_a_tag_that_points_elsewhere_by_now_is_left_alone(town: Town) -> None:
    digest = digest_of_tag(town)
    assert town.client.delete(f"/v2/acme/app/manifests/{digest}", headers=basic("will")).is_success
    town.push("acme/app", b"second")
    answer = town.api("will", "POST", f"{APP}/manifests/{digest}/restore")
    assert (answer["tags"], answer["tagsTaken"]) == ([], ["v1"])
    assert digest_of_tag(town) != digest
    town.api("will", "POST", f"{APP}/manifests/{digest}/restore", status=409)


def test_pushing_it_again_takes_it_from_the_trash(town: Town) -> None:
    digest = digest_of_tag(town)
    assert town.client.delete(f"/v2/acme/app/manifests/{digest}", headers=basic("will")).is_success
    town.push("acme/app", b"app")
    assert rows(town, MANIFESTS_DELETED) == rows(town, REFERENCES_DELETED) == 0
    town.clock.now += 100 * DAY
    empty(town)
    assert status(town, digest) == 200


def test_what_leaves_the_trash_is_due_at_once(town: Town) -> None:
    """The grace of its blobs began when the manifest was deleted."""
    digest = digest_of_tag(town)
    deleted_at = town.clock.now
    assert town.client.delete(f"/v2/acme/app/manifests/{digest}", headers=basic("will")).is_success
    town.clock.now += 14 * DAY
    empty(town)
    town.api("will", "POST", f"{APP}/manifests/{digest}/restore", status=404)
    assert rows(town, MANIFESTS_DELETED) == rows(town, REFERENCES_DELETED) == 0
    with town.engine.read() as transaction:
        due = [key for key, _ in transaction.scan(LINKS_UNREFERENCED)]
    assert sum(key[:8] == number_key(deleted_at) for key in due) == 2, "config and layer"


def test_a_manifest_whose_blob_was_deleted_says_what_is_missing(town: Town) -> None:
    digest = digest_of_tag(town)
    layer = str(Digest.of_bytes(b"app"))
    assert town.client.delete(f"/v2/acme/app/manifests/{digest}", headers=basic("will")).is_success
    assert town.client.delete(f"/v2/acme/app/blobs/{layer}", headers=basic("will")).is_success
    answer = town.ask("will", "POST", f"{APP}/manifests/{digest}/restore")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["detail"] == layer


def test_a_shorter_trash_counts_at_once(town: Town) -> None:
    digest = digest_of_tag(town)
    assert town.client.delete(f"/v2/acme/app/manifests/{digest}", headers=basic("will")).is_success
    town.api("owen", "PUT", "admin/settings/storage", {"trashDays": 0}, 403)
    town.api("admin", "PUT", "admin/settings/storage", {"trashDays": -1}, 400)
    town.api("admin", "PUT", "admin/settings/storage", {"trashDays": 0})
    empty(town)
    assert rows(town, TRASH) == rows(town, MANIFESTS_DELETED) == 0


# ---- untagged manifests ------------------------------------------------------------------------
def put(town: Town, body: bytes, reference: str, media_type: str = MANIFEST) -> str:
    answer = town.client.put(
        f"/v2/acme/app/manifests/{reference or Digest.of_bytes(body)}",
        headers={**basic("will"), "content-type": media_type},
        content=body,
    )
    assert answer.status_code == 201, answer.text
    return str(Digest.of_bytes(body))


def police(town: Town, days: float) -> None:
    town.clock.now += int(days * DAY)
    while policing.step(town.engine, town.clock()):
        pass


def test_untagged_manifests_stay_unless_a_policy_says_otherwise(town: Town) -> None:
    first = digest_of_tag(town)
    town.push("acme/app", b"second")
    police(town, 1000)
    assert status(town, first) == 200


def test_untagged_manifests_go_after_their_days_and_come_back_as_one_run(town: Town) -> None:
    town.api("admin", "PUT", "admin/settings/storage", {"untaggedDays": 3})
    first = digest_of_tag(town)
    town.push("acme/app", b"second")
    alone = put(town, image_manifest(b"app", fields={"annotations": {"n": "1"}}), "")
    police(town, 2.9)
    assert status(town, first) == 200
    police(town, 0.2)
    assert status(town, first) == status(town, alone) == 404
    assert status(town, "v1") == 200
    runs = {m["run"] for m in town.api("owen", "GET", f"{APP}/trash")["manifests"]}
    assert len(runs) == 1
    town.api("owen", "POST", "trash/restoreRun", {"run": min(runs)}, 403)
    assert town.api("admin", "POST", "trash/restoreRun", {"run": min(runs)})["count"] == 2
    assert status(town, first) == status(town, alone) == 200


def test_a_large_run_comes_back_in_several_requests(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.api("admin", "PUT", "admin/settings/storage", {"untaggedDays": 3})
    bodies = [image_manifest(b"app", fields={"annotations": {"n": str(n)}}) for n in range(7)]
    digests = [put(town, body, "") for body in bodies]
    police(town, 2.9)
    police(town, 0.2)
    (run,) = {m["run"] for m in town.api("owen", "GET", f"{APP}/trash")["manifests"]}
    monkeypatch.setattr(trash_management, "_RUN_STEPS_MAX", 2 * restoring.RESTORE_STEPS)
    monkeypatch.setattr(trash_management, "_RUN_ROWS_MAX", 3)
    counts: list[int] = []
    start = ""
    while not counts or start:
        body = {"run": run, "start": start}
        answer = town.api("admin", "POST", "trash/restoreRun", body)
        counts.append(answer["count"])
        start = answer["nextStart"]
    assert counts == [2, 2, 2, 1]
    assert {status(town, digest) for digest in digests} == {200}
    town.api("admin", "POST", "trash/restoreRun", {"run": run, "start": "here"}, 400)


def test_children_and_referrers_stay_with_what_needs_them(town: Town) -> None:
    town.api("admin", "PUT", "admin/settings/storage", {"untaggedDays": 3})
    child = image_manifest(b"app", fields={"annotations": {"n": "child"}})
    child_digest = put(town, child, "")
    index = index_manifest(descriptor(child, MANIFEST))
    index_digest = put(town, index, "multi", INDEX)
    signature = image_manifest(b"app", fields={"subject": descriptor(index, INDEX)})
    signature_digest = put(town, signature, "")
    police(town, 10)
    assert {status(town, d) for d in (child_digest, index_digest, signature_digest)} == {200}
    path = f"/v2/acme/app/manifests/{index_digest}"
    assert town.client.delete(path, headers=basic("will")).is_success
    police(town, 4)
    assert {status(town, d) for d in (child_digest, signature_digest)} == {404}


# ---- repositories ------------------------------------------------------------------------------
def test_a_deleted_repository_comes_back_with_all_that_was_granted(town: Town) -> None:
    digest = digest_of_tag(town)
    town.api("owen", "PATCH", APP, {"longDescription": "About the app."})
    grants = rows(town, GRANTS)
    town.api("ada", "DELETE", APP, status=403)
    town.api("owen", "DELETE", APP, status=204)
    assert status(town, "v1") == 404
    town.api("owen", "GET", APP, status=404)
    town.api("rita", "GET", "accounts/acme/teams/readers/repositoryAccess")
    (gone,) = town.api("owen", "GET", "trash")["repositories"]
    assert (gone["namespace"], gone["name"], gone["deletedBy"]) == ("acme", "app", "owen")
    assert town.api("ada", "GET", "trash")["repositories"] == []
    town.api("ada", "POST", f"trash/{gone['id']}/restore", {}, 404)
    town.api("nora", "POST", f"trash/{gone['id']}/restore", {}, 404)
    town.clock.now += 13 * DAY
    empty(town)
    back = town.api("owen", "POST", f"trash/{gone['id']}/restore", {})
    assert back["longDescription"] == "About the app."
    assert digest_of_tag(town) == digest
    assert rows(town, GRANTS) == grants
    assert town.client.get("/v2/acme/app/manifests/v1", headers=basic("rita")).status_code == 200
    town.api("owen", "POST", f"trash/{gone['id']}/restore", {}, 404)
    assert rows(town, TRASH) == rows(town, REPOSITORIES_TRASHED) == 0


def test_a_name_that_is_taken_again_needs_another_one(town: Town) -> None:
    town.api("owen", "DELETE", APP, status=204)
    town.push("acme/app", b"new")
    (gone,) = town.api("owen", "GET", "trash")["repositories"]
    town.api("owen", "POST", f"trash/{gone['id']}/restore", {}, 409)
    town.api("owen", "POST", f"trash/{gone['id']}/restore", {"name": "missing/x"}, 404)
    back = town.api("owen", "POST", f"trash/{gone['id']}/restore", {"name": "acme/old"})
    assert (back["namespace"], back["name"]) == ("acme", "old")
    assert status(town, "v1", "acme/old") == 200


def test_a_repository_goes_for_good_with_its_grants(town: Town) -> None:
    town.api("owen", "DELETE", APP, status=204)
    town.clock.now += 14 * DAY
    empty(town)
    assert town.api("owen", "GET", "trash")["repositories"] == []
    assert rows(town, GRANTS) == 0
    assert rows(town, REPOSITORIES_TRASHED) == 0
    assert {r["name"] for r in town.api("owen", "GET", "repositories/acme")["repositories"]} == {
        "open",
        "secret",
    }


def test_blobs_of_a_deleted_repository_cannot_be_mounted(town: Town) -> None:
    layer = Digest.of_bytes(b"secret")
    town.api("owen", "DELETE", "repositories/acme/secret", status=204)
    answer = town.client.post(f"/v2/acme/open/blobs/uploads/?mount={layer}", headers=basic("owen"))
    assert answer.status_code == 202


# ---- numbers -----------------------------------------------------------------------------------
def test_numbers_of_a_tag_a_repository_and_a_namespace(town: Town) -> None:
    layer = b"x" * 1000
    for name in ("one", "two"):
        town.api("owen", "POST", "repositories/acme", {"name": name}, 201)
        town.push(f"acme/{name}", layer)
    town.push("acme/one", b"y" * 300)
    manifest = len(image_manifest(b"y" * 300))
    seen = town.api("owen", "GET", "repositories/acme/one/usage")
    one = town.api("admin", "GET", "repositories/acme/one/usage")
    assert seen == {**one, "isAtMost": True}, "owen gets an upper bound with the same numbers"
    assert one["logicalBytes"] == 1000 + 300 + 2 + len(image_manifest(layer)) + manifest
    assert one["uniqueBytes"] == one["freedBytes"] == 300 + len(image_manifest(layer)) + manifest
    assert one["sharedBytes"] == 1002
    assert one["isExact"]
    tag = town.api("owen", "GET", "repositories/acme/one/manifests/v1/usage")
    assert (tag["freedBytes"], tag["logicalBytes"]) == (300 + manifest, 302 + manifest)
    town.api("nora", "GET", "repositories/acme/one/usage", status=404)
    assert town.api("owen", "GET", "repositoryNamespaces/acme/usage")["uniqueBytes"] >= 1302
    town.api("nora", "GET", "repositoryNamespaces/acme/usage", status=403)
    usages = town.api("admin", "GET", "admin/usage")["usages"]
    assert [(u["name"], u["changeNumber"]) for u in usages] == [("acme/one", one["changeNumber"])]


def test_a_tag_with_a_brother_frees_nothing(town: Town) -> None:
    put(town, image_manifest(b"app"), "v2")
    assert town.api("rita", "GET", f"{APP}/manifests/v1/usage")["freedBytes"] == 0
    digest = digest_of_tag(town)
    assert town.api("rita", "GET", f"{APP}/manifests/{digest}/usage")["freedBytes"] > 0


def test_what_only_the_trash_holds(town: Town) -> None:
    town.api("owen", "DELETE", "repositories/acme/secret", status=204)
    digest = digest_of_tag(town)
    assert town.client.delete(f"/v2/acme/app/manifests/{digest}", headers=basic("will")).is_success
    storage = town.api("admin", "GET", "admin/storage", params={"trash": "true"})
    assert storage["trashBytes"] == len(b"secret") + len(b"app"), "acme/open has the config, too"
    assert storage["trashThings"] == 3, "a repository, a manifest and its tag"
    town.api("owen", "GET", "admin/storage", status=403)


@pytest.mark.parametrize("path", ["admin/damages", "admin/usage", "admin/settings/storage"])
def test_storage_is_for_administrators(town: Town, path: str) -> None:
    town.api("owen", "GET", path, status=403)
    town.api("admin", "GET", path)

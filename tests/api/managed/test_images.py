"""Images, jobs, sessions, logs and metrics in the management API."""

from __future__ import annotations

import json
import os
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from dtrfast.api.v0 import jobs as job_operations
from dtrfast.api.v0.operation import ApiClient
from dtrfast.config import AuthConfig, Config
from dtrfast.errors import CredentialUnknown
from dtrfast.identity.callers import SYSTEM
from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import OCI_INDEX, OCI_MANIFEST
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import job_records, pulls, repositories
from dtrfast.registry.job_records import TaskState
from dtrfast.store.report import StoreReport
from tests.api.managed.town import Town, basic
from tests.fakes.client import image_manifest, index_manifest

APP = "repositories/acme/app"


def _put(town: Town, body: bytes, reference: str, media_type: str = OCI_MANIFEST) -> str:
    answer = town.client.put(
        f"/v2/acme/app/manifests/{reference}",
        content=body,
        headers={**basic("owen"), "content-type": media_type},
    )
    assert answer.status_code == 201, answer.text
    return str(answer.headers["docker-content-digest"])


def _push(town: Town, tag: str, config: dict[str, object], layer: bytes) -> str:
    body = json.dumps(config).encode()
    manifest = image_manifest(layer, config=body)
    document = json.loads(manifest)
    for entry, content in ((document["config"], body), (document["layers"][0], layer)):
        url = f"/v2/acme/app/blobs/uploads/?digest={entry['digest']}"
        town.client.post(url, headers=basic("owen"), content=content)
    return _put(town, manifest, tag)


def _config(**env: str) -> dict[str, object]:
    variables = [f"{name}={value}" for name, value in env.items()]
    return {
        "os": "linux",
        "architecture": "amd64",
        "config": {"Env": variables},
        "history": [{"created_by": "COPY a /a"}],
    }


def test_tags_are_listed_with_what_they_are(town: Town) -> None:
    _push(town, "v2", _config(A="1"), b"layer two")
    found = town.api("rita", "GET", f"{APP}/images?sort=-name")
    assert [image["tag"] for image in found["images"]] == ["v2", "v1"]
    newest = found["images"][0]
    assert newest["platforms"] == ["linux/amd64"]
    assert newest["size"] == len(b"layer two") + len(json.dumps(_config(A="1")))
    assert (newest["kind"], newest["layers"], newest["setBy"]) == ("image", 1, "owen")
    assert found["count"] == 2
    page = town.api("rita", "GET", f"{APP}/images?limit=1")
    assert page["nextPageStart"] == "v2"
    assert town.api("rita", "GET", f"{APP}/images?start=v2")["images"] == [newest]
    assert town.api("rita", "GET", f"{APP}/images?filter=V2")["images"] == [newest]
    town.api("nora", "GET", f"{APP}/images", status=404)


def test_an_image_is_told_in_full_and_compared(town: Town) -> None:
    first = _push(town, "a", _config(A="1", B="1"), b"one")
    _push(town, "b", _config(A="2"), b"two")
    image = town.api("rita", "GET", f"{APP}/manifests/a")
    assert image["digest"] == first
    assert image["env"] == ["A=1", "B=1"]
    assert image["layers"][0]["command"] == "COPY a /a"
    assert town.api("rita", "GET", f"{APP}/manifests/{first}")["tags"] == ["a"]
    found = town.api("rita", "GET", f"{APP}/compare?from=a&to=b")
    assert {(c["field"], c["after"]) for c in found["changes"]} == {("env A", "2"), ("env B", "")}
    sizes = [town.api("rita", "GET", f"{APP}/manifests/{tag}")["size"] for tag in ("a", "b")]
    assert [found["sizeBefore"], found["sizeAfter"]] == sizes
    town.api("rita", "GET", f"{APP}/compare?from=a&to=none", status=404)
    town.api("rita", "GET", f"{APP}/compare?from=a", status=400)
    town.api("nora", "GET", f"{APP}/manifests/a", status=404)


def test_an_index_tells_its_platforms_and_what_refers_to_it(town: Town) -> None:
    child = _push(town, "child", _config(A="1"), b"one")
    size = len(image_manifest(b"one", config=json.dumps(_config(A="1")).encode()))
    entry = {
        "mediaType": OCI_MANIFEST,
        "digest": child,
        "size": size,
        "platform": {"os": "linux", "architecture": "amd64"},
    }
    index = _put(town, index_manifest(entry), "multi", OCI_INDEX)
    subject = {"mediaType": OCI_INDEX, "digest": index, "size": 1}
    fields = {"artifactType": "application/spdx+json", "subject": subject}
    _put(
        town,
        image_manifest(b"one", config=json.dumps(_config(A="1")).encode(), fields=fields),
        "sbom",
    )
    image = town.api("rita", "GET", f"{APP}/manifests/multi")
    assert [(p["platform"], p["isThere"]) for p in image["platforms"]] == [("linux/amd64", True)]
    assert [referrer["kind"] for referrer in image["referrers"]] == ["SBOM"]
    town.api("owen", "DELETE", f"{APP}/manifests/{child}", status=204)
    image = town.api("rita", "GET", f"{APP}/manifests/multi")
    assert [p["isThere"] for p in image["platforms"]] == [False]


def test_a_config_that_is_gone_or_huge_leaves_its_fields_empty(town: Town) -> None:
    digest = _push(town, "v3", _config(GONE="1"), b"three")
    manifest = town.client.get(f"/v2/acme/app/manifests/{digest}", headers=basic("owen")).json()
    blob = manifest["config"]["digest"]
    assert (
        town.client.delete(f"/v2/acme/app/blobs/{blob}", headers=basic("owen")).status_code == 202
    )
    town.api("owen", "PATCH", "repositories/acme/open", {"shortDescription": "x"})
    assert town.api("rita", "GET", f"{APP}/manifests/v3")["env"] == []
    _push(town, "huge", {**_config(), "author": "x" * 300_000}, b"huge")
    assert town.api("rita", "GET", f"{APP}/manifests/huge")["author"] == ""


def test_pulls_are_told_and_forgotten_with_the_tag(town: Town) -> None:
    digest = town.api("rita", "GET", f"{APP}/images")["images"][0]["digest"]
    assert town.api("rita", "GET", f"{APP}/images")["images"][0]["pulledAt"] == ""
    seen = {("acme/app", "v1"): town.clock(), ("acme/app", "none"): 1, ("acme/none", "v1"): 1}
    pulls.note(town.engine, seen)
    assert town.api("rita", "GET", f"{APP}/images")["images"][0]["pulledAt"] != ""
    town.api("owen", "DELETE", f"{APP}/manifests/v1", status=204)
    town.api("owen", "POST", f"{APP}/tags/v1/restore", {})
    assert town.api("rita", "GET", f"{APP}/images")["images"][0]["pulledAt"] == ""
    pulls.note(town.engine, {("acme/app", digest): town.clock()})
    assert town.api("rita", "GET", f"{APP}/manifests/v1")["pulledAt"] != ""


def test_sessions_are_listed_and_ended_by_their_user(town: Town) -> None:
    form = {"username": "will", "password": "correct horse battery"}
    for _ in range(2):
        town.client.post("/api/v0/sessions", json=form)
        town.client.forget_cookies()
    found = town.api("will", "GET", "accounts/will/sessions")["sessions"]
    assert len(found) == 2
    town.api("rita", "GET", "accounts/will/sessions", status=403)
    town.api("rita", "DELETE", f"accounts/rita/sessions/{found[0]['id']}", status=404)
    town.api("will", "DELETE", f"accounts/will/sessions/{found[0]['id']}", status=204)
    assert len(town.api("will", "GET", "accounts/will/sessions")["sessions"]) == 1


def _noted_at(town: Town) -> int:
    with town.engine.read() as transaction:
        repository = repositories.find(transaction, RepositoryName("acme/app"))
        assert repository is not None
        (pulled_at,) = pulls.of_tags(transaction, repository, [("v1", Digest.of_bytes(b""))])
        return pulled_at


@pytest.mark.parametrize(
    ("later", "is_written"), [(299, False), (300, True), (-299, False), (-86_400, True)]
)
def test_a_pull_is_written_each_five_minutes_and_after_a_clock_that_was_ahead(
    town: Town, later: int, is_written: bool
) -> None:
    pulls.note(town.engine, {("acme/app", "v1"): 1_000_000})
    pulls.note(town.engine, {("acme/app", "v1"): 1_000_000 + later})
    assert _noted_at(town) == 1_000_000 + (later if is_written else 0)


def test_a_tag_that_goes_while_its_pull_is_noted_leaves_no_row(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = town.engine.write

    def hasty(change: Any) -> Any:
        monkeypatch.setattr(town.engine, "write", write)
        town.client.delete("/v2/acme/app/manifests/v1", headers=basic("ada"))
        return write(change)

    monkeypatch.setattr(town.engine, "write", hasty)
    pulls.note(town.engine, {("acme/app", "v1"): 1_000_000})
    assert _noted_at(town) == 0


def test_jobs_logs_and_metrics_are_for_administrators(town: Town) -> None:
    for path in ("jobs", "logs", "metrics", "metrics/history", "diagnostics"):
        town.api("owen", "GET", f"admin/{path}", status=403)
        town.api("", "GET", f"admin/{path}", status=401)
        town.api("admin", "GET", f"admin/{path}")
    town.api("owen", "POST", "admin/jobs/check/run", status=403)
    town.api("admin", "POST", "admin/jobs/none/run", status=404)
    town.api("admin", "POST", "admin/jobs/check/run", status=202)
    jobs = town.api("admin", "GET", "admin/jobs")["jobs"]
    assert [job["name"] for job in jobs if job["isWaiting"]] == ["check"]
    assert [event.subject for event in town.events.of("job.run")] == ["check"]


def test_a_waiting_job_is_canceled_and_another_is_refused(town: Town) -> None:
    town.api("admin", "POST", "admin/jobs/check/run", status=202)
    town.api("admin", "POST", "admin/jobs/check/cancel", status=202)
    jobs = town.api("admin", "GET", "admin/jobs")["jobs"]
    assert not any(job["isWaiting"] for job in jobs)
    town.api("admin", "POST", "admin/jobs/check/cancel", status=409)
    assert [event.subject for event in town.events.of("job.cancel")] == ["check"]
    task = TaskState("scrub", 1.0)
    town.identity.engine.write(lambda transaction: job_records.put_task(transaction, task))
    town.api("admin", "POST", "admin/jobs/scrub/run", status=202)
    refused = town.api("admin", "POST", "admin/jobs/scrub/cancel", status=409)
    assert "is a task, not a job" in json.dumps(refused)


def test_without_accounts_there_is_nothing_to_synchronize(town: Town) -> None:
    config = Config(auth=AuthConfig(mode="none"))
    report = StoreReport(town.engine)
    visit = town.identity.guard.visit(SYSTEM)
    client = ApiClient(town.identity, visit, report, config, "", is_secure=True)
    query = job_operations.JobsQuery()
    listed = job_operations.list_jobs(client.call({}, query, None), query)
    assert "ldap-sync" not in [job.name for job in listed.jobs]
    for operation in (job_operations.run_job, job_operations.cancel_job):
        with pytest.raises(CredentialUnknown):
            operation(client.call({"job": "ldap-sync"}, None, None))


def test_the_disk_is_the_same_wherever_it_is_shown(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = SimpleNamespace(f_blocks=100, f_bfree=60, f_bavail=30, f_frsize=4096, f_files=0)
    monkeypatch.setattr(os, "statvfs", lambda path: status)
    for path in ("storage", "metrics"):
        found = town.api("admin", "GET", f"admin/{path}")
        assert (found["diskBytes"], found["diskFreeBytes"]) == (70 * 4096, 30 * 4096)


def test_diagnostics_have_no_secret(town: Town) -> None:
    ldap = {
        "serverUrls": ["ldaps://ldap.example"],
        "userSets": [{"baseDn": "dc=example"}],
        "searchDn": "cn=search",
        "searchPassword": "the secret",
    }
    town.api("admin", "PUT", "admin/settings/ldap", ldap)
    found = town.api("admin", "GET", "admin/diagnostics")
    assert "the secret" not in json.dumps(found)
    assert "1970" not in json.dumps(found), "an event that never happened has no time"


def test_tags_are_found_where_one_may_see_them(town: Town) -> None:
    town.push("acme/secret", b"hidden")
    search = partial(town.api, path="index/search?query=v1&includeTags=true", method="GET")
    found = search("rita")["tagResults"]
    assert {tag["repository"] for tag in found} == {"acme/app", "acme/open"}
    narrow = town.api("rita", "GET", "index/search?query=open:v&includeTags=true")["tagResults"]
    assert narrow == [{"repository": "acme/open", "tag": "v1"}]


def test_events_of_a_repository_are_for_its_administrators(town: Town) -> None:
    town.api("will", "GET", f"{APP}/events", status=403)
    town.api("nora", "GET", f"{APP}/events", status=404)
    town.api("ada", "GET", f"{APP}/events")

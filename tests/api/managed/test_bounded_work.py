"""A request does a bounded amount of work, and its answer says if something was left out."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from dtrfast.identity import accounts
from dtrfast.identity.records import Account
from dtrfast.index.engine import ReadTransaction
from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import OCI_INDEX
from dtrfast.registry import (
    budget,
    deletion,
    families,
    keys,
    links,
    management,
    outlines,
    pages,
    usage,
)
from tests.api.managed.test_deletion import delete, image, index_of, put, status
from tests.api.managed.town import Town

APP = "repositories/acme/app"
# The number of blobs that a small image names.
PARTS = 2


@pytest.fixture
def filled(town: Town) -> Town:
    for number in range(5):
        town.push("acme/app", b"layer %d" % number, tag=f"t{number}")
    return town


def test_a_measurement_of_a_part_says_so(filled: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = filled.api("rita", "GET", f"{APP}/usage")
    assert (whole["isExact"], whole["isPart"]) == (True, False)
    for name in ("SCOPE_STEPS", "_HOLDER_STEPS", "_STORE_STEPS"):
        with monkeypatch.context() as patch:
            patch.setattr(usage, name, 12)
            part = filled.api("rita", "GET", f"{APP}/usage")
        assert (part["isExact"], part["isPart"]) == (False, True), name
        assert part["storedBytes"] < whole["storedBytes"], name


def test_holders_that_all_go_are_read_so_far(filled: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each blob of a namespace may be held by all its repositories."""
    for name in ("secret", "open"):
        for number in range(5):
            filled.push(f"acme/{name}", b"layer %d" % number)
    path = "repositoryNamespaces/acme/usage"
    whole = filled.api("admin", "GET", path)
    assert (whole["isExact"], whole["isPart"]) == (True, False)
    rows = 0
    holders = links.holders

    def counted(
        transaction: ReadTransaction, digest: Digest, limit: int
    ) -> list[keys.RepositoryId]:
        nonlocal rows
        found = holders(transaction, digest, limit)
        rows += len(found)
        return found

    monkeypatch.setattr(links, "holders", counted)
    monkeypatch.setattr(usage, "_STAY_STEPS", 8)
    part = filled.api("admin", "GET", path)
    assert (part["isExact"], part["isPart"]) == (False, True)
    assert part["uniqueBytes"] < whole["uniqueBytes"]
    assert rows <= 8 + 3


def test_an_administrator_gets_what_was_measured_before(
    filled: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = filled.api("admin", "GET", f"{APP}/usage")
    monkeypatch.setattr(usage, "_STORE_STEPS", 8)
    assert filled.api("admin", "GET", f"{APP}/usage") == whole
    filled.push("acme/app", b"one more", tag="more")
    again = filled.api("admin", "GET", f"{APP}/usage")
    assert (again["storedBytes"], again["isExact"]) == (whole["storedBytes"], False)


def test_a_preview_of_a_part_says_so(filled: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{APP}/deletion?references=t0,t1"
    assert filled.api("rita", "GET", path)["isExact"]
    monkeypatch.setattr(usage, "SCOPE_STEPS", 4)
    assert not filled.api("rita", "GET", path)["isExact"]


def test_what_goes_with_an_index_names_so_much(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    children = [image(name) for name in ("one", "two", "three")]
    digests = [put(town, body) for body in children]
    index = index_of(*children)
    put(town, index, "index", OCI_INDEX)
    monkeypatch.setattr(families, "_FAMILY_PARTS_MAX", 2 * PARTS)
    gone = delete(town, str(Digest.of_bytes(index)))["manifests"]
    assert set(gone) == {str(Digest.of_bytes(index)), *digests[:2]}
    assert [status(town, digest) for digest in digests] == [404, 404, 200]


def test_a_large_image_waits_for_a_request_of_its_own(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = [put(town, image(name), name) for name in ("one", "two")]
    monkeypatch.setattr(deletion, "DELETION_STEPS_MAX", deletion._MANIFEST_STEPS + 2 * PARTS - 1)
    monkeypatch.setattr(deletion, "_TAG_STEPS", 0)
    done = delete(town, *digests)
    assert (done["manifests"], done["left"]) == (digests[:1], digests[1:])
    assert delete(town, *done["left"])["left"] == []


def test_large_outlines_are_read_so_far(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlines, "_PARSED_ALWAYS_SIZE_MAX", 0)
    for name in ("a", "b", "c"):
        put(town, image(name), name)
    monkeypatch.setattr(budget.Budget.__init__, "__defaults__", (1 << 20, 10_000, False, 1))
    shown = town.api("rita", "GET", f"{APP}/images")["images"]
    assert [one["isExact"] for one in shown] == [True, *[False] * (len(shown) - 1)]
    assert not town.api("rita", "GET", f"{APP}/deletion?references=a,b,c")["isExact"]


def test_a_page_of_manifests_ends_in_time(filled: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [one["digest"] for one in filled.api("rita", "GET", f"{APP}/manifests")["manifests"]]
    monkeypatch.setattr(pages, "_DEAR_LOOKED_AT_MIN", 1)
    monkeypatch.setattr(pages.BoundedScan.__init__, "__defaults__", (0.0,))
    found: list[str] = []
    start = ""
    while not found or start:
        page = filled.api("rita", "GET", f"{APP}/manifests?start={start}")
        found += [one["digest"] for one in page["manifests"]]
        start = page["nextPageStart"]
        assert len(page["manifests"]) == 1
    assert found == wanted


def test_a_request_deletes_so_much(filled: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "DELETION_STEPS_MAX", 2 * deletion._TAG_STEPS)
    names = [f"t{number}" for number in range(5)]
    done = filled.api("ada", "POST", f"{APP}/deletion", {"references": names})
    assert (done["tags"], done["left"]) == (names[:2], names[2:])
    done = filled.api("ada", "POST", f"{APP}/deletion", {"references": done["left"]})
    assert (done["tags"], done["left"]) == (names[2:4], names[4:])
    trash = filled.api("ada", "GET", f"{APP}/trash?kind=tags")["tags"]
    wanted = [f"{one['name']}@{one['digest']}" for one in trash]
    monkeypatch.setattr(deletion, "DELETION_STEPS_MAX", 1)
    back = filled.api("ada", "POST", f"{APP}/trash/restore", {"references": wanted})
    assert (len(back["tags"]), back["left"]) == (1, wanted[1:])


def test_a_list_by_name_ends_and_goes_on(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        town.api("owen", "POST", "repositories/acme", {"name": f"r{number}"}, 201)
    monkeypatch.setattr(pages, "LOOKED_AT_MAX", 4)
    found: list[str] = []
    start, count = "", 0
    while True:
        query = f"filter=r7&start={start.replace('/', '%2F')}"
        page = town.api("owen", "GET", f"repositories?{query}")
        found += [one["name"] for one in page["repositories"]]
        start, count = page["nextPageStart"], count + 1
        if not start:
            break
    assert found == ["r7"]
    assert count == 3
    page = town.api("owen", "GET", "repositories?sort=-created")
    assert (len(page["repositories"]), page["isExact"]) == (4, False)
    assert not town.api("owen", "GET", "index/search?query=r7")["isExact"]


def test_lists_of_a_repository_end_and_go_on(filled: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "LOOKED_AT_MAX", 2)
    page = filled.api("rita", "GET", f"{APP}/images?filter=t4")
    assert (page["images"], page["nextPageStart"]) == ([], "t2")
    page = filled.api("rita", "GET", f"{APP}/images?sort=-pushed")
    assert (len(page["images"]), page["isExact"]) == (2, False)
    page = filled.api("rita", "GET", f"{APP}/manifests?untagged=true")
    assert page["manifests"] == []
    assert page["nextPageStart"].startswith("sha256:")


def test_a_page_of_dear_entries_is_short(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        town.api("owen", "POST", "repositories/acme", {"name": f"r{number}"}, 201)
    monkeypatch.setattr(pages, "_DEAR_LOOKED_AT_MIN", 1)
    monkeypatch.setattr(management, "_BATCH_SIZE", 1)
    monkeypatch.setattr(time, "thread_time", iter(range(1000)).__next__)
    page = town.api("owen", "GET", "repositories")
    assert len(page["repositories"]) < 4
    assert page["nextPageStart"]


def test_an_access_list_looks_so_many_grantees_up(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user in ("rita", "nora"):
        level = {"accessLevel": "read-only"}
        town.api("owen", "PUT", f"repositories/acme/app/userAccess/{user}", level)
    looked_up: list[int] = []
    find_ids = accounts.find_ids

    def count(transaction: ReadTransaction, numbers: Sequence[int]) -> dict[int, Account]:
        looked_up.extend(numbers)
        return find_ids(transaction, numbers)

    monkeypatch.setattr(accounts, "find_ids", count)
    monkeypatch.setattr(pages, "LOOKED_AT_MAX", 1)
    town.api("owen", "GET", "repositories/acme/app/userAccess")
    assert len(looked_up) == 1

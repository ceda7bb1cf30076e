"""Every list of the management API: filtered, sorted, and read page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from dtrfast.registry import usage
from dtrfast.registry.usage import Numbers
from tests.api.managed.town import Town, basic, in_memory
from tests.fakes.client import image_manifest

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class List:
    """A list: its caller, its path, the field of its entries, and the name of an entry."""

    who: str
    path: str
    field: str
    name: Callable[[Any], str]
    sorts: tuple[str, ...]


def _name(entry: Any) -> str:
    return str(entry["name"])


LISTS = {
    "accounts": List("admin", "accounts", "accounts", _name, ("name", "created")),
    "members": List("owen", "accounts/acme/members", "members", _name, ("name",)),
    "teams": List("owen", "accounts/acme/teams", "teams", _name, ("name",)),
    "team": List("owen", "accounts/acme/teams/readers/members", "members", _name, ("name",)),
    "access of a team": List(
        "owen",
        "accounts/acme/teams/readers/repositoryAccess",
        "repositoryAccessList",
        lambda entry: str(entry["repository"]["name"]),
        ("name", "level"),
    ),
    "repositories": List("owen", "repositories", "repositories", _name, ("name", "created")),
    "owned": List("owen", "repositories?owned=true", "repositories", _name, ("name", "created")),
    "namespace": List("owen", "repositories/acme", "repositories", _name, ("name", "created")),
    "shared": List(
        "nora", "accounts/nora/sharedRepositories", "repositories", _name, ("name", "created")
    ),
    "users of a repository": List(
        "owen",
        "repositories/acme/app/userAccess",
        "userAccessList",
        lambda entry: str(entry["user"]["name"]),
        ("name", "level"),
    ),
    "teams of a repository": List(
        "owen",
        "repositories/acme/app/teamAccess",
        "teamAccessList",
        lambda entry: str(entry["team"]["name"]),
        ("name", "level"),
    ),
    "tokens": List(
        "nora",
        "accounts/nora/tokens",
        "credentials",
        _name,
        ("name", "created", "expires", "used"),
    ),
    "robots": List("owen", "accounts/acme/robots", "credentials", _name, ("name", "created")),
    "images": List(
        "owen",
        "repositories/acme/app/images",
        "images",
        lambda entry: str(entry["tag"]),
        ("name", "pushed"),
    ),
    "deleted repositories": List("owen", "trash", "repositories", _name, ("name", "deleted")),
    "deleted tags": List(
        "owen", "repositories/acme/app/trash?kind=tags", "tags", _name, ("name", "deleted")
    ),
    "deleted manifests": List(
        "owen",
        "repositories/acme/app/trash?kind=manifests",
        "manifests",
        lambda entry: str(entry["digest"]),
        ("name", "deleted"),
    ),
    "usages": List("admin", "admin/usage", "usages", _name, ("name", "freed", "stored")),
}


@pytest.fixture(scope="module")
def busy() -> Iterator[Town]:
    """A town with at least three of everything. Tests that share it change nothing."""
    with in_memory() as town:
        _fill(town)
        yield town


def _fill(town: Town) -> None:
    for number, name in enumerate(("alpha", "beta", "gamma")):
        town.clock.now += 60
        town.push("acme/app", name.encode(), who="will")
        _tag(town, name)
        days = {"expiresInDays": 10 * (3 - number)}
        town.api("nora", "POST", "accounts/nora/tokens", {"name": name, **days}, 201)
        scopes = [{"repository": "acme/*", "actions": ["pull"]}]
        town.api("owen", "POST", "accounts/acme/robots", {"name": name, "scopes": scopes}, 201)
        town.api("owen", "POST", "repositories/acme", {"name": f"old-{name}"}, 201)
        town.api("owen", "DELETE", f"repositories/acme/old-{name}", status=204)
        town.api(
            "owen", "PUT", f"accounts/acme/teams/readers/members/{('ada', 'will', 'nora')[number]}"
        )
        repository = ("app", "open", "secret")[number]
        level = {"accessLevel": ("admin", "read-only", "read-write")[number]}
        town.api("owen", "PUT", f"repositories/acme/{repository}/userAccess/nora", level)
        town.api("owen", "PUT", f"repositories/acme/{repository}/teamAccess/readers", level)
        town.api(
            "owen",
            "PUT",
            f"repositories/acme/app/userAccess/{('rita', 'will', 'ada')[number]}",
            level,
        )
        numbers = Numbers(1, 1, True, 1, 1, 10, 30 - number, 10, number)
        usage.keep(town.engine, f"acme/{repository}", numbers)
    for reference in ("alpha", "beta", "v1"):
        town.clock.now += 60
        digest = _digest(town, reference)
        town.api("owen", "DELETE", f"repositories/acme/app/manifests/{reference}", status=204)
        town.api("owen", "DELETE", f"repositories/acme/app/manifests/{digest}", status=204)
    for name in ("one", "two", "three"):
        _tag(town, name)


def _tag(town: Town, tag: str) -> None:
    """Push an image with a manifest of its own, over blobs that exist."""
    manifest = image_manifest(b"gamma" if tag in ("one", "two", "three") else tag.encode())
    body = manifest[:-1] + f', "annotations": {{"tag": "{tag}"}}}}'.encode()
    headers = {**basic("owen"), "content-type": MANIFEST}
    put = town.client.put(f"/v2/acme/app/manifests/{tag}", headers=headers, content=body)
    assert put.status_code == 201, put.text


def _digest(town: Town, reference: str) -> str:
    answer = town.client.head(f"/v2/acme/app/manifests/{reference}", headers=basic("owen"))
    return str(answer.headers["docker-content-digest"])


def ask(town: Town, one: List, **query: object) -> Any:
    path, _, fixed = one.path.partition("?")
    pairs = [fixed, *(f"{name}={value}" for name, value in query.items() if value != "")]
    return town.api(one.who, "GET", f"{path}?{'&'.join(pair for pair in pairs if pair)}")


def names(town: Town, one: List, **query: object) -> list[str]:
    return [one.name(entry) for entry in ask(town, one, **query)[one.field]]


CASES = [(key, sort) for key, one in LISTS.items() for sort in one.sorts]


@pytest.mark.parametrize(("key", "sort"), CASES)
def test_pages_of_one_are_the_whole_list(busy: Town, key: str, sort: str) -> None:
    one = LISTS[key]
    for direction in ("", "-"):
        whole = names(busy, one, sort=direction + sort, limit=1000)
        assert len(whole) >= 3
        walked: list[str] = []
        start = ""
        while len(walked) <= len(whole):
            page = ask(busy, one, sort=direction + sort, limit=1, start=start)
            walked += [one.name(entry) for entry in page[one.field]]
            start = page["nextPageStart"]
            if not start:
                break
        assert walked == whole
        if sort == "name":
            assert whole == sorted(whole, reverse=bool(direction))


COLUMNS: dict[str, Callable[[Any], Any]] = {
    "created": lambda entry: entry.get("createdAt"),
    "expires": lambda entry: entry.get("expiresAt", ""),
    "used": lambda entry: entry.get("lastUsedAt", ""),
    "level": lambda entry: ["read-only", "read-write", "admin"].index(entry["accessLevel"]),
    "pushed": lambda entry: entry["setAt"],
    "deleted": lambda entry: entry["deletedAt"],
    "freed": lambda entry: entry["freedBytes"],
    "stored": lambda entry: entry["storedBytes"],
}


@pytest.mark.parametrize(("key", "sort"), [case for case in CASES if case[1] != "name"])
def test_a_minus_turns_the_order_round(busy: Town, key: str, sort: str) -> None:
    one = LISTS[key]
    up = ask(busy, one, sort=sort)[one.field]
    down = ask(busy, one, sort=f"-{sort}")[one.field]
    column = COLUMNS[sort]
    values = [column(entry) for entry in up]
    assert values == sorted(values)
    assert [column(entry) for entry in down] == sorted(values, reverse=True)


@pytest.mark.parametrize("key", list(LISTS))
def test_a_filter_is_a_part_of_the_name(busy: Town, key: str) -> None:
    one = LISTS[key]
    whole = names(busy, one)
    wanted = whole[1][-8:]
    assert names(busy, one, filter=wanted.upper()) == [n for n in whole if wanted in n]
    assert names(busy, one, filter="no-such-thing") == []


def test_a_filter_of_the_trash_finds_digests_by_their_tags(busy: Town) -> None:
    found = ask(busy, LISTS["deleted manifests"], filter="nothing")
    assert found["manifests"] == []
    everything = busy.api("owen", "GET", "repositories/acme/app/trash")
    assert len(everything["tags"]) == len(everything["manifests"]) == 3


def test_sessions_are_found_by_address(town: Town) -> None:
    body = {"username": "nora", "password": "correct horse battery"}
    for _ in range(3):
        town.clock.now += 60
        town.api("", "POST", "sessions", body, 201)
    path = "accounts/nora/sessions"
    found = town.api("nora", "GET", f"{path}?sort=created")["sessions"]
    assert [s["createdAt"] for s in found] == sorted(s["createdAt"] for s in found)
    assert len(found) == 3
    assert town.api("nora", "GET", f"{path}?filter=10.9.8.7")["sessions"] == []
    assert town.api("nora", "GET", f"{path}?limit=2")["nextPageStart"] == "2"


def test_an_order_that_a_list_has_not_is_refused(town: Town) -> None:
    for path in ("accounts?sort=size", "accounts/acme/teams?sort=created", "trash?sort=level"):
        assert town.ask("admin", "GET", path).status_code == 400

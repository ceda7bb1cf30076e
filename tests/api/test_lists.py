"""end-8, the catalog and search: lists of names."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest

from dtrfast.config import RegistryConfig
from dtrfast.oci.media_types import OCI_INDEX
from tests.api.conftest import World
from tests.fakes.client import NAME, Client, failure, index_manifest

TAGS = sorted(["latest", "V1", "v1", "v1.0", "v1-rc", "_x", "0", "a" * 128])
TAGS_URL = f"/v2/{NAME}/tags/list"


def push_tags(client: Client, tags: list[str], name: str = NAME) -> None:
    for tag in tags:
        client.push_manifest(index_manifest(), tag, name, OCI_INDEX)


def next_page(link: str) -> str:
    match = re.fullmatch(r'<(/v2/[^>]+)>; rel="next"', link)
    assert match is not None
    return match[1]


def pages(client: Client, url: str, key: str) -> list[list[str]]:
    """Return all pages from `url` on, by their links."""
    found = []
    while url:
        response = client.get(url)
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        found.append(response.json()[key])
        url = next_page(response.headers["link"]) if "link" in response.headers else ""
    return found


# ---- tags -------------------------------------------------------------------------------------
def test_tags_in_the_order_of_their_bytes(client: Client) -> None:
    push_tags(client, TAGS[::-1])
    response = client.get(TAGS_URL)
    assert response.json() == {"name": NAME, "tags": TAGS}
    assert "link" not in response.headers


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 500])
def test_pages_of_tags(client: Client, count: int) -> None:
    push_tags(client, TAGS)
    found = pages(client, f"{TAGS_URL}?n={count}", "tags")
    assert found == [TAGS[i : i + count] for i in range(0, len(TAGS), count)]


@pytest.mark.parametrize(
    "last", ["", "A", "V1", "v1", "v1.0", "zzz", "é", "x" * 2000, "\x00", "a" * 129]
)
def test_tags_after_a_given_one(client: Client, last: str) -> None:
    push_tags(client, TAGS)
    expected = [tag for tag in TAGS if tag.encode() > last.encode()]
    assert client.get(f"{TAGS_URL}?last={quote(last)}").json()["tags"] == expected
    assert client.get(f"{TAGS_URL}?n=2&last={quote(last)}").json()["tags"] == expected[:2]


def test_a_page_of_none(client: Client) -> None:
    push_tags(client, TAGS)
    for url in (TAGS_URL, "/v2/_catalog"):
        response = client.get(f"{url}?n=0")
        assert [] in response.json().values()
        assert "link" not in response.headers


def test_a_page_has_a_limit(world: World) -> None:
    client = world.client(registry=RegistryConfig(page_size_max=3))
    push_tags(client, TAGS)
    expected = [TAGS[i : i + 3] for i in range(0, len(TAGS), 3)]
    for query in ("", "?n=3", "?n=1000", "?n=" + "9" * 100):
        assert pages(client, TAGS_URL + query, "tags") == expected


@pytest.mark.parametrize("count", ["-1", "x", "1.5", "0x10", "%2B1", "1%202", "%C2%B2"])
@pytest.mark.parametrize("url", [TAGS_URL, "/v2/_catalog", "/v1/search"])
def test_a_count_that_is_none(client: Client, url: str, count: str) -> None:
    push_tags(client, ["a"])
    answer = failure(client.get(f"{url}?n={count}"))
    assert (answer.status, answer.codes) == (400, ["PAGINATION_NUMBER_INVALID"])


def test_tags_of_an_unknown_repository(client: Client) -> None:
    answer = failure(client.get(TAGS_URL))
    assert (answer.status, answer.codes) == (404, ["NAME_UNKNOWN"])


def test_tags_of_a_repository_that_has_none(client: Client) -> None:
    client.push_blob(b"x")
    assert client.get(TAGS_URL).json() == {"name": NAME, "tags": []}


def test_tags_of_other_repositories_do_not_show(client: Client) -> None:
    names = ["a", "a/b", "b"]
    for name in names:
        push_tags(client, [f"of-{name[-1]}"], name)
    for name in names:
        assert client.get(f"/v2/{name}/tags/list").json()["tags"] == [f"of-{name[-1]}"]


# ---- catalog ----------------------------------------------------------------------------------
NAMES = sorted(["a", "a-b", "a.b", "a/b", "a/b/c", "b", "team/app", "z" * 255])


def test_the_catalog(client: Client) -> None:
    assert client.get("/v2/_catalog").json() == {"repositories": []}
    for name in NAMES[::-1]:
        client.push_blob(b"x", name)
    response = client.get("/v2/_catalog")
    assert response.json() == {"repositories": NAMES}
    assert "link" not in response.headers


@pytest.mark.parametrize("count", [1, 3, 8, 9])
def test_pages_of_the_catalog(client: Client, count: int) -> None:
    for name in NAMES:
        client.push_blob(b"x", name)
    found = pages(client, f"/v2/_catalog?n={count}", "repositories")
    assert found == [NAMES[i : i + count] for i in range(0, len(NAMES), count)]


@pytest.mark.parametrize("last", ["", "a", "a/a", "zz", "z" * 600, "\x00", "A"])
def test_the_catalog_after_a_given_name(client: Client, last: str) -> None:
    for name in NAMES:
        client.push_blob(b"x", name)
    expected = [name for name in NAMES if name > last]
    assert client.get(f"/v2/_catalog?last={quote(last)}").json()["repositories"] == expected


def test_a_page_of_the_catalog_without_a_count(client: Client) -> None:
    for number in range(101):
        push_tags(client, ["a"], f"r{number:03}")
    response = client.get("/v2/_catalog")
    assert len(response.json()["repositories"]) == 100
    assert next_page(response.headers["link"]) == "/v2/_catalog?last=r099&n=100"


def test_a_repository_is_listed_while_it_holds_something(client: Client) -> None:
    digest = client.push_blob(b"x")
    push_tags(client, ["a"], "other")
    client.delete(f"/v2/{NAME}/blobs/{digest}")
    assert client.get("/v2/_catalog").json() == {"repositories": ["other"]}
    assert client.get(TAGS_URL).status_code == 404
    push_tags(client, ["b"])
    assert client.get("/v2/_catalog").json() == {"repositories": ["other", NAME]}


# ---- search -----------------------------------------------------------------------------------
def test_ping(client: Client) -> None:
    response = client.get("/v1/_ping")
    assert response.status_code == 200
    assert response.headers["x-docker-registry-standalone"] == "true"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("q=app", ["app", "team/app", "team/app2"]),
        ("q=team/", ["team/app", "team/app2", "team/db"]),
        ("q=APP2", ["team/app2"]),
        ("q=nothing", []),
        ("q=", ["app", "team/app", "team/app2", "team/db"]),
        ("", ["app", "team/app", "team/app2", "team/db"]),
        ("q=app&n=2", ["app", "team/app"]),
        ("q=app&n=1000", ["app", "team/app", "team/app2"]),
        ("q=%C3%A9%00", []),
    ],
)
def test_search(client: Client, query: str, expected: list[str]) -> None:
    for name in ("app", "team/app", "team/app2", "team/db"):
        client.push_blob(b"x", name)
    document = client.get(f"/v1/search?{query}").json()
    assert [result["name"] for result in document["results"]] == expected
    assert document["num_results"] == len(expected)
    for result in document["results"]:
        assert result == {
            "name": result["name"],
            "description": "",
            "star_count": 0,
            "is_official": False,
            "is_automated": False,
        }


# ---- health -----------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"

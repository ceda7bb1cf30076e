"""CORS: pages of other origins that a setting permits."""

from __future__ import annotations

import httpx
import pytest

from dtrfast._core import parse_head
from dtrfast.config import Config, ServerConfig
from dtrfast.identity.guard import OpenGuard
from dtrfast.registry.registry import Registry
from dtrfast.server.door.hot import HotLane
from dtrfast.server.door.wire import Dates
from tests.api.conftest import World
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.client import NAME, Client
from tests.fakes.clock import Clock
from tests.fakes.engine import MemoryEngine

UI = "https://ui.example"
OTHER = "https://other.example"
NOWHERE = f"sha256:{'0' * 64}"
ASKED = {
    "origin": UI,
    "access-control-request-method": "DELETE",
    "access-control-request-headers": "authorization,cache-control",
}


@pytest.fixture
def client(world: World) -> Client:
    return world.client(server=ServerConfig(cors_origins=(UI, "http://localhost:8080")))


@pytest.fixture
def open_to_all(world: World) -> Client:
    return world.client(server=ServerConfig(cors_origins=(UI, "*")))


def cors(response: httpx.Response) -> dict[str, str]:
    """Return the headers that a browser evaluates."""
    prefix = "access-control-"
    return {
        name.removeprefix(prefix): value
        for name, value in response.headers.items()
        if name.startswith(prefix)
    }


def varies(response: httpx.Response) -> bool:
    return "origin" in response.headers.get("vary", "").lower()


def requests(client: Client) -> list[tuple[str, str, int]]:
    """Return requests with answers of every kind."""
    client.push_image("v1")
    small, large = client.push_blob(b"abc"), client.push_blob(bytes(700_000))
    return [
        ("GET", "/v2/", 200),
        ("GET", "/v2", 200),
        ("GET", "/v2/_catalog?n=1", 200),
        ("GET", f"/v2/{NAME}/tags/list", 200),
        ("GET", f"/v2/{NAME}/manifests/v1", 200),
        ("HEAD", f"/v2/{NAME}/manifests/v1", 200),
        ("GET", f"/v2/{NAME}/blobs/{small}", 200),
        ("GET", f"/v2/{NAME}/blobs/{large}", 200),
        ("GET", f"/v2/{NAME}/manifests/absent", 404),
        ("HEAD", f"/v2/{NAME}/blobs/{NOWHERE}", 404),
        ("GET", "/v2/UPPER/tags/list", 400),
        ("GET", "/v2/nothing", 404),
        ("BREW", f"/v2/{NAME}/tags/list", 405),
        ("POST", f"/v2/{NAME}/blobs/uploads/", 202),
        ("POST", f"/v2/{NAME}/blobs/uploads/?mount=x", 400),
        ("PUT", f"/v2/{NAME}/manifests/v1", 400),
        ("DELETE", f"/v2/{NAME}/manifests/absent", 404),
    ]


def test_every_answer_lets_a_listed_page_read_it(client: Client) -> None:
    for method, path, status in requests(client):
        response = client.request(method, path, headers={"origin": UI})
        assert response.status_code == status, path
        seen = cors(response)
        exposed = set(seen.pop("expose-headers").lower().split(", "))
        assert seen == {"allow-origin": UI, "allow-credentials": "true"}, path
        safe = {"cache-control", "content-type", "x-content-type-options", "vary"}
        sent = {n for n in response.headers if not n.startswith("access-control-")}
        assert sent - safe <= exposed, path
        assert varies(response), path
    assert {"docker-content-digest", "link", "www-authenticate", "oci-subject"} <= exposed


def test_other_pages_and_programs_see_no_difference(client: Client) -> None:
    for method, path, status in requests(client):
        for headers in ({}, {"origin": OTHER}, {"origin": "null"}, {"origin": f"{UI}:443"}):
            response = client.request(method, path, headers=headers)
            assert (response.status_code, cors(response)) == (status, {}), (path, headers)
            assert varies(response), path


def test_a_preflight_is_answered_without_credentials(client: Client) -> None:
    for path in ("/v2/", f"/v2/{NAME}/manifests/v1", f"//v2/team%2Fapp/blobs/{NOWHERE}/"):
        response = client.request("OPTIONS", f"http://registry{path}", headers=ASKED)
        assert (response.status_code, response.content) == (204, b"")
        seen = cors(response)
        assert seen["allow-origin"] == UI
        assert seen["allow-credentials"] == "true"
        assert seen["allow-headers"] == ASKED["access-control-request-headers"]
        methods = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
        assert set(seen["allow-methods"].split(", ")) == methods
        assert int(seen["max-age"]) > 0
        assert varies(response)


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": OTHER},
        {"origin": None},
        {"access-control-request-method": None},
    ],
)
def test_what_is_no_preflight_of_a_listed_page_is_refused(
    client: Client, changes: dict[str, str | None]
) -> None:
    headers = {name: value for name, value in (ASKED | changes).items() if value is not None}
    response = client.request("OPTIONS", "/v2/", headers=headers)
    assert response.status_code == 405
    assert "allow-methods" not in cors(response)


def test_all_pages_but_none_with_credentials(open_to_all: Client) -> None:
    response = open_to_all.get("/v2/", headers={"origin": OTHER})
    seen = cors(response)
    seen.pop("expose-headers")
    assert seen == {"allow-origin": "*"}
    assert varies(response)
    asked = open_to_all.request("OPTIONS", "/v2/", headers={**ASKED, "origin": OTHER})
    assert asked.status_code == 204
    assert cors(asked)["allow-origin"] == "*"
    assert "allow-credentials" not in cors(asked)
    assert cors(open_to_all.get("/v2/", headers={"origin": UI}))["allow-origin"] == UI
    assert cors(open_to_all.get("/v2/", headers={"origin": "*"}))["allow-origin"] == "*"


def test_it_is_for_the_registry_only(client: Client) -> None:
    for path in ("/healthz", "/v1/search?q=a", "/api/v0/accounts", "/v2x", "/"):
        for method in ("GET", "OPTIONS"):
            response = client.request(method, path, headers=ASKED)
            assert cors(response) == {}, path
            assert not varies(response), path


def test_it_is_off_by_default(world: World) -> None:
    client = world.client()
    response = client.get("/v2/", headers={"origin": UI})
    assert (response.status_code, cors(response), varies(response)) == (200, {}, False)
    assert client.request("OPTIONS", "/v2/", headers=ASKED).status_code == 405


def hot_answer(*fields: bytes, has_pages: bool) -> bytes | None:
    """Return the answer of the hot lane to a GET of the base."""
    engine = MemoryEngine()
    registry = Registry(engine, MemoryBlobs(Clock()), Config())
    hot = HotLane(OpenGuard(registry), Dates(), has_pages=has_pages)
    head = parse_head(b"\r\n".join([b"GET /v2/ HTTP/1.1", b"Host: registry", *fields, b"", b""]))
    assert head is not None
    return hot.answer(head, None)


def test_the_hot_lane_leaves_pages_to_the_application() -> None:
    page = b"Origin: https://ui.example"
    assert hot_answer(page, has_pages=True) is None
    plain = hot_answer(has_pages=True)
    assert plain is not None
    assert b"vary: Origin\r\n" in plain
    off = hot_answer(page, has_pages=False)
    assert off is not None
    assert b"vary" not in off

"""The endpoints of paths, found directly and over HTTP."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from dtrfast.api.v2 import router
from dtrfast.api.v2.router import Methods, find_target
from dtrfast.config import RegistryConfig
from tests.api.conftest import World
from tests.fakes import asgi
from tests.fakes.client import Client, failure

DIGEST = "sha256:" + "0" * 64
UUID = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize(
    ("path", "methods", "name", "reference"),
    [
        ("", router.BASE, "", ""),
        ("_catalog", router.CATALOG, "", ""),
        ("a/tags/list", router.TAGS, "a", ""),
        ("a/b/c/tags/list", router.TAGS, "a/b/c", ""),
        ("a/manifests/latest", router.MANIFEST, "a", "latest"),
        (f"a/b/manifests/{DIGEST}", router.MANIFEST, "a/b", DIGEST),
        (f"a/blobs/{DIGEST}", router.BLOB, "a", DIGEST),
        ("a/blobs/uploads", router.UPLOADS, "a", ""),
        ("a/blobs/uploads/", router.UPLOADS, "a", ""),
        (f"a/blobs/uploads/{UUID}", router.UPLOAD, "a", UUID),
        (f"a/referrers/{DIGEST}", router.REFERRERS, "a", DIGEST),
        # Names may contain every word of the endpoints.
        ("blobs/uploads/manifests/x", router.MANIFEST, "blobs/uploads", "x"),
        ("tags/list/tags/list", router.TAGS, "tags/list", ""),
        ("a/manifests/tags/list", router.TAGS, "a/manifests", ""),
        (f"a/manifests/blobs/{DIGEST}", router.BLOB, "a/manifests", DIGEST),
        ("a/blobs/uploads/tags/list", router.TAGS, "a/blobs/uploads", ""),
        (f"a/blobs/uploads/blobs/uploads/{UUID}", router.UPLOAD, "a/blobs/uploads", UUID),
        (f"referrers/referrers/{DIGEST}", router.REFERRERS, "referrers", DIGEST),
        ("uploads/manifests/list", router.MANIFEST, "uploads", "list"),
    ],
)
def test_a_path_leads_to_its_endpoint(
    path: str, methods: Methods, name: str, reference: str
) -> None:
    target = find_target(path.split("/"))
    assert target is not None
    assert target.methods is methods
    assert (target.name, target.reference) == (name, reference)


@pytest.mark.parametrize(
    "path", ["a", "a/b", "a/tags", "a/tags/list/x", "_catalog/x", "a/manifests/x/y"]
)
def test_other_paths_lead_nowhere(client: Client, path: str) -> None:
    assert find_target(path.split("/")) is None
    answer = failure(client.get(f"/v2/{path}"))
    assert (answer.status, answer.codes) == (404, ["NAME_UNKNOWN"])


@pytest.mark.parametrize("path", ["/", "/v1", "/v2x", "/v3/", "/v2%2F", "/V2/", "/x/v2/"])
def test_what_is_not_below_v2(client: Client, path: str) -> None:
    assert client.get(f"http://registry{path}").status_code == 404


BAD_NAMES = [
    "UPPER",
    "team/App",
    "a" * 256,
    "a/" * 127 + "aa",
    "%2e%2e",
    "team/%2e%2e/app",
    "team%252Fapp",
    "team%2F..%2Fapp",
    "team%2F%2e%2Fapp",
    "%2F%2e%2e%2Fapp",
    "team%2FApp",
    "team%5Capp",
    "team%3Fapp",
    "team%23app",
    "team%20app",
    "team%25app",
    "team%0d%0aapp",
    "team%00app",
    "te%FFam",
    "-a",
    "a-",
    "a..b",
    "a___b",
    "é",
    "a b",
    "_catalog",
]

REQUESTS = [
    ("GET", "tags/list"),
    ("GET", "manifests/latest"),
    ("HEAD", "manifests/latest"),
    ("PUT", "manifests/latest"),
    ("DELETE", "manifests/latest"),
    ("GET", f"blobs/{DIGEST}"),
    ("HEAD", f"blobs/{DIGEST}"),
    ("DELETE", f"blobs/{DIGEST}"),
    ("POST", "blobs/uploads/"),
    ("POST", f"blobs/uploads/?mount={DIGEST}"),
    ("POST", f"blobs/uploads/?digest={DIGEST}"),
    ("GET", f"blobs/uploads/{UUID}"),
    ("PATCH", f"blobs/uploads/{UUID}"),
    ("PUT", f"blobs/uploads/{UUID}?digest={DIGEST}"),
    ("DELETE", f"blobs/uploads/{UUID}"),
    ("GET", f"referrers/{DIGEST}"),
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused_and_stores_nothing(client: Client, name: str) -> None:
    for method, path in REQUESTS:
        response = client.request(method, f"http://registry/v2/{name}/{path}")
        if method == "HEAD":
            assert (response.status_code, response.content) == (400, b"")
            continue
        answer = failure(response)
        assert (answer.status, answer.codes) == (400, ["NAME_INVALID"])
    assert client.get("/v2/_catalog").json() == {"repositories": []}


@pytest.mark.parametrize("name", [".", "..", "../v2/a", "a/../b", "a/./b", "%2E%2E/a"])
def test_dots_lead_nowhere(client: Client, name: str) -> None:
    # A client library would normalize these paths, so the test sets them itself.
    for method, path in REQUESTS:
        exchange = client.run(asgi.ask(client.app, method, f"/v2/{name}/{path}"))
        assert exchange.status == 400
        assert method == "HEAD" or b"NAME_INVALID" in exchange.content


@pytest.mark.parametrize("name", ["a" * 255, "a", "a-----b", "a__b", "a.b/c_d/e", "tags/list", "0"])
def test_a_good_name(client: Client, name: str) -> None:
    client.push_blob(b"x", name)
    assert client.get("/v2/_catalog").json() == {"repositories": [name]}


def test_an_encoded_digest_is_decoded(client: Client) -> None:
    digest = client.push_blob(b"abc")
    encoded = digest.replace(":", "%3A")
    assert client.get(f"http://registry/v2/team/app/blobs/{encoded}").content == b"abc"


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v2/", "GET, HEAD"),
        ("/v2/_catalog", "GET, HEAD"),
        ("/v2/a/tags/list", "GET, HEAD"),
        ("/v2/a/manifests/x", "GET, HEAD, PUT, DELETE"),
        (f"/v2/a/blobs/{DIGEST}", "GET, HEAD, DELETE"),
        ("/v2/a/blobs/uploads/", "POST"),
        (f"/v2/a/blobs/uploads/{UUID}", "GET, HEAD, PATCH, PUT, DELETE"),
        (f"/v2/a/referrers/{DIGEST}", "GET, HEAD"),
        ("/v1/search", "GET, HEAD"),
        ("/healthz", "GET, HEAD"),
    ],
)
def test_other_methods_are_refused_with_those_that_are_not(
    client: Client, path: str, allow: str
) -> None:
    allowed = allow.split(", ")
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]:
        if method in allowed:
            continue
        response = client.request(method, path)
        answer = failure(response)
        assert (answer.status, answer.codes) == (405, ["UNSUPPORTED"])
        assert set(response.headers["allow"].split(", ")) == set(allowed)


def test_deletes_can_be_switched_off(world: World) -> None:
    client = world.client(registry=RegistryConfig(delete=False))
    digest = client.push_image("latest")
    blob = client.push_blob(b"abc")
    for path in (f"manifests/{digest}", "manifests/latest", f"blobs/{blob}"):
        response = client.delete(f"/v2/team/app/{path}")
        answer = failure(response)
        assert (answer.status, answer.codes) == (405, ["UNSUPPORTED"])
        assert "DELETE" not in response.headers["allow"]
        assert client.get(f"/v2/team/app/{path}").status_code == 200
    assert client.delete(client.begin()).status_code == 204


def test_addresses_are_below_what_the_application_is_mounted_under(client: Client) -> None:
    outer = Client(Starlette(routes=[Mount("/registry", client.app)]), client.runner)
    response = outer.post("/registry/v2/team/app/blobs/uploads/")
    location = response.headers["location"]
    assert location.startswith("/registry/v2/team/app/blobs/uploads/")
    digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    response = outer.put(f"{location}?digest={digest}", content=b"abc")
    assert response.headers["location"] == f"/registry/v2/team/app/blobs/{digest}"
    assert outer.get(response.headers["location"]).content == b"abc"
    outer.close()

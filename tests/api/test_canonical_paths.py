"""Other spellings of a path mean the same to the router, the lanes, logs and metrics."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Scope

from dtrfast.api.canonical_paths import canonical_path, normalize
from dtrfast.api.v0.router import OPERATIONS
from dtrfast.api.v2 import router
from dtrfast.errors import Invalid
from dtrfast.logs.line import repository_of
from dtrfast.server.access_log import AccessLog, AccessLogEntry, AccessWriter
from dtrfast.server.door.hot import _find_target
from tests.api.conftest import World
from tests.fakes import asgi
from tests.fakes.client import NAME, Client

PATHS = {
    # The canonical spelling.
    "/": "/",
    "/v2": "/v2",
    "/v2/": "/v2/",
    "/v2/team/app/tags/list": "/v2/team/app/tags/list",
    "/v2/team/app/blobs/uploads/": "/v2/team/app/blobs/uploads/",
    # A redundant slash.
    "//": "/",
    "//v2/": "/v2/",
    "/v2//": "/v2/",
    "///v2///_catalog": "/v2/_catalog",
    "/v2/_catalog/": "/v2/_catalog",
    "/v2/team//app/manifests//v1//": "/v2/team/app/manifests/v1",
    "/v2/team/app//blobs/uploads//": "/v2/team/app/blobs/uploads/",
    "//healthz/": "/healthz",
    "//auth//token/": "/auth/token",
    # An encoded slash separates the pieces of a repository's name.
    "/v2/team%2Fapp/tags/list": "/v2/team/app/tags/list",
    "/v2/a%2fb%2F%2Fc/manifests/v1": "/v2/a/b/c/manifests/v1",
    "/v2/a%2Fblobs%2Fuploads/blobs/uploads/": "/v2/a/blobs/uploads/blobs/uploads/",
    "/v2/a%2Fmanifests%2Fb/tags/list/": "/v2/a/manifests/b/tags/list",
    "/v2/%2Fa%2F/blobs/uploads/x": "/v2/a/blobs/uploads/x",
    "/v2/team/app/blobs/sha256%3Aab": "/v2/team/app/blobs/sha256:ab",
    "/v2/te%61m/app%2Dx/tags/list": "/v2/team/app-x/tags/list",
    "/%76%32/t%61gs/list": "/v2/tags/list",
    # Decoded once, and only characters that a path may contain.
    "/v2/team%252Fapp/tags/list": "/v2/team%252Fapp/tags/list",
    "/v2/team%25%32%46app/tags/list": "/v2/team%252Fapp/tags/list",
    "/v2/a%00%0d%0a%20%22%5C%3F%23%7f%c3%bc": "/v2/a%00%0d%0a%20%22%5C%3F%23%7f%c3%bc",
    "/v2/a%2F%2e%2e%2Fb/tags/list": "/v2/a/../b/tags/list",
    # An encoded slash before or after a name stays encoded.
    "/v2/team%2Fapp%2Ftags%2Flist%2F": "/v2/team%2Fapp%2Ftags%2Flist%2F",
    "/v2/team%2Fapp/tags%2Flist": "/v2/team%2Fapp/tags%2Flist",
    "/v2/a%2Fb/manifests/x%2Fy": "/v2/a/b/manifests/x%2Fy",
    "/v2/a/blobs/uploads/..%2F..%2Fetc": "/v2/a/blobs/uploads/..%2F..%2Fetc",
    "/v2/a/manifests%2Fx": "/v2/a/manifests%2Fx",
    "/v2/a%2Fblobs/uploads/x": "/v2/a%2Fblobs/uploads/x",
    "/v2%2Fteam/tags/list": "/v2%2Fteam/tags/list",
    # A missing name stays missing.
    "/v2/app/manifests/": "/v2/app/manifests/",
    "/v2/app/blobs//": "/v2/app/blobs/",
    "/v2/app/referrers/": "/v2/app/referrers/",
    # In paths of the management API the pieces are names.
    "/api/v0/repositories/acme/team%2Fapp": "/api/v0/repositories/acme/team%2Fapp",
    "//api//v0/accounts/": "/api/v0/accounts",
    "/api/v0/accounts//teams/x": "/api/v0/accounts//teams/x",
    "/api/v0//accounts": "/api/v0//accounts",
    "/api/v0/accounts//": "/api/v0/accounts//",
    "//api/v0": "/api/v0",
}


def test_each_path_has_one_spelling() -> None:
    assert {path: canonical_path(path) for path in PATHS} == PATHS


@settings(max_examples=50)
@given(st.text("/%2F5eE.:~av", max_size=12).map(lambda text: f"/v2/{text}"))
def test_the_one_spelling_is_its_own(path: str) -> None:
    once = canonical_path(path)
    assert canonical_path(once) == once
    assert "//" not in once


def test_router_and_log_see_the_same_repository() -> None:
    for path in PATHS.values():
        target = router.find_path(path) if path.startswith("/v2/") else None
        if target is not None and "%" not in target.name:
            assert repository_of(path) == target.name, path


def test_no_operation_becomes_another_when_a_name_is_missing() -> None:
    """`DELETE /api/v0/accounts/$NAME/teams/$TEAM` with an empty variable deletes nothing."""
    known = {
        (o.method, "/".join("*" if p[:1] == "{" else p for p in o.path.split("/")))
        for o in OPERATIONS
    }
    for method, path in known:
        pieces = path.split("/")
        for i, piece in enumerate(pieces):
            if piece == "*" and method != "GET":
                left_out = "/".join([*pieces[:i], "", *pieces[i + 1 :]])
                seen = canonical_path(f"/api/v0{left_out}").removeprefix("/api/v0")
                shapes = {shape for m, shape in known if m == method}
                assert seen not in shapes, (method, path)
                assert not any(_fits(seen, shape) for shape in shapes), (method, path)


def _fits(path: str, shape: str) -> bool:
    ones, others = path.split("/")[1:], shape.split("/")[1:]
    return len(ones) == len(others) and all(
        one == other or (other == "*" and one != "")
        for one, other in zip(ones, others, strict=True)
    )


# ---- hosts --------------------------------------------------------------------------------------
def scope_of(target: bytes, http_version: str = "1.1", **more: object) -> Scope:
    headers = [(b"accept", b"*/*"), (b"host", b"registry")]
    return {
        "type": "http",
        "path": target.decode("latin-1"),
        "raw_path": target,
        "headers": headers,
        "http_version": http_version,
        **more,
    }


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        (b"http://registry:5000/v2/a/tags/list", b"/v2/a/tags/list", b"registry:5000"),
        (b"HTTPS://Elsewhere//v2/a%2Fb/tags/list/", b"/v2/a/b/tags/list", b"Elsewhere"),
        (b"http://[::1]:80/v2/", b"/v2/", b"[::1]:80"),
        (b"http://a%2db", b"/", b"a%2db"),
        (b"/v2/http://x/tags/list", b"/v2/http:/x/tags/list", b"registry"),
    ],
)
def test_the_host_of_the_request_line_counts(target: bytes, path: bytes, host: bytes) -> None:
    scope = scope_of(target)
    normalize(scope)
    assert (scope["raw_path"], scope["path"]) == (path, path.decode())
    assert [value for name, value in scope["headers"] if name == b"host"] == [host]
    assert (b"accept", b"*/*") in scope["headers"]


NO_HOSTS = [
    b"http://user@registry/v2/",
    b"http://user:word@registry/v2/",
    b"http:///v2/",
    b"http://:80/v2/",
    b"http://a:b/v2/",
    b"http://a b/v2/",
    b"http://a\r\nb/v2/",
    b"http://[::1/v2/",
    b"ftp://registry/v2/",
    b"file:///etc/passwd",
    b"x/http://a/",
]


def test_what_is_no_host_is_refused(client: Client) -> None:
    for target in NO_HOSTS:
        with pytest.raises(Invalid):
            normalize(scope_of(target))
        exchange = client.run(asgi.ask(client.app, "GET", target.decode()))
        assert (exchange.status, b"UNSUPPORTED" in exchange.content) == (400, True), target


@pytest.mark.parametrize("target", [b"*", b"", b"v2/", b"http://a/v2/"])
def test_what_is_no_path_stays(target: bytes) -> None:
    # HTTP/2 sends the host in a field of its own.
    scope = scope_of(target, "2")
    normalize(scope)
    assert scope["raw_path"] == target


def test_below_what_the_application_is_mounted_under() -> None:
    for raw, seen in (
        (b"/registry//v2/a%2Fb/tags/list", b"/registry/v2/a/b/tags/list"),
        (b"/registry/api/v0//x", b"/registry/api/v0//x"),
        (b"//v2/a", b"/v2/a"),  # some servers leave out the prefix of the mounted application
    ):
        scope = scope_of(raw, root_path="/registry")
        normalize(scope)
        assert scope["raw_path"] == seen
    scope = {**scope_of(b""), "path": "/v2//a b/tags/list", "raw_path": None}
    normalize(scope)
    assert scope["raw_path"] == b"/v2/a%20b/tags/list"


# ---- what sees them -----------------------------------------------------------------------------
def test_the_log_and_the_metrics_have_the_one_spelling(client: Client) -> None:
    entries: list[AccessLogEntry] = []
    writer = AccessWriter(None, sinks=[entries.append])
    app = AccessLog(client.app, writer)
    sent = ["http://a//v2/team%2Fapp/tags/list/", "/v2/team//app/tags/list?n=1", "//healthz"]
    for target in sent:
        client.run(asgi.ask(app, "GET", target))
    writer.close()
    assert [e.path for e in entries] == [
        f"/v2/{NAME}/tags/list",
        f"/v2/{NAME}/tags/list",
        "/healthz",
    ]


def test_the_hot_lane_has_it_too() -> None:
    digest = f"sha256:{'a' * 64}"
    for plain in (b"/v2/team/app/manifests/v1", f"/v2/team/app/blobs/{digest}".encode()):
        found = _find_target(plain)
        assert found is not None
        assert found[1] == plain
        for spelled in (
            plain + b"/?ns=docker.io",
            plain.replace(b"team/app", b"team%2Fapp"),
            plain.replace(b"team/app", b"/team//app"),
            plain.replace(b":", b"%3a"),
        ):
            assert _find_target(spelled) == found
    for left_to_the_application in (b"//v2/", b"http://a/v2/", b"/v2/a%2F..%2Fb/manifests/v1"):
        assert _find_target(left_to_the_application) is None


# ---- requests -----------------------------------------------------------------------------------
SPELLINGS = ["team%2Fapp", "team%2fapp", "/team/app", "team//app", "%74eam/app", "team%2F%2Fapp"]


def test_everything_in_a_repository_is_found(client: Client) -> None:
    digest = client.push_image("v1")
    blob = client.push_blob(b"abc")
    for name in SPELLINGS:

        def ask(method: str, path: str, name: str = name) -> asgi.Exchange:
            return client.run(asgi.ask(client.app, method, f"/v2/{name}/{path}"))

        assert ask("GET", "manifests/v1").headers["docker-content-digest"] == digest, name
        assert ask("GET", f"manifests/{digest.replace(':', '%3A')}").status == 200, name
        assert ask("GET", "tags/list/").content == ask("GET", "tags/list").content, name
        assert ask("GET", f"blobs/{blob}").headers["location"] == f"/v2/{NAME}/blobs/{blob}"
        assert ask("GET", f"referrers//{digest}").status == 200, name
        begun = ask("POST", "blobs/uploads/")
        begin, _, upload_id = begun.headers["location"].rpartition("/")
        assert (begun.status, begin) == (202, f"/v2/{NAME}/blobs/uploads"), name
        assert ask("DELETE", f"blobs/uploads/{upload_id}").status == 204, name
    assert client.get("/v2/_catalog").json() == {"repositories": [NAME]}


def test_an_answer_to_an_absolute_target_names_its_host(world: World) -> None:
    client = world.client()
    headers = {"host": "elsewhere"}
    asked = asgi.ask(
        client.app, "POST", f"http://here:5000/v2/{NAME}/blobs/uploads/", headers=headers
    )
    exchange = client.run(asked)
    assert exchange.status == 202
    assert exchange.headers["docker-upload-location"].startswith(f"http://here:5000/v2/{NAME}/")

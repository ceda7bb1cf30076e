"""Rights: every caller on every kind of repository, with a token and with a password."""

from __future__ import annotations

import re

import pytest

from dtrfast.oci.digests import Digest
from dtrfast.oci.manifests import Manifest, parse_manifest
from dtrfast.registry import manifests
from tests.api.managed.town import Town, basic, granted
from tests.fakes import asgi
from tests.fakes.client import failure, image_manifest

# The statuses of a pull, a push and a delete, by caller and repository. A hidden repository looks
# like a missing one.
RIGHTS = {
    ("", "acme/app"): (401, 401, 401),
    ("", "acme/secret"): (401, 401, 401),
    ("", "acme/open"): (200, 401, 401),
    ("", "acme/new"): (401, 401, 401),
    ("nora", "acme/app"): (404, 404, 404),
    ("nora", "acme/open"): (200, 403, 403),
    ("nora", "acme/new"): (404, 404, 404),
    ("nora", "missing/new"): (404, 404, 404),
    ("nora", "nora/new"): (404, 202, 404),
    ("rita", "acme/app"): (200, 403, 403),
    ("rita", "acme/secret"): (404, 404, 404),
    ("rita", "acme/open"): (200, 403, 403),
    ("will", "acme/app"): (200, 202, 202),
    ("will", "acme/secret"): (404, 404, 404),
    ("will", "acme/new"): (404, 404, 404),
    ("ada", "acme/app"): (200, 202, 202),
    ("ada", "acme/secret"): (404, 404, 404),
    ("owen", "acme/app"): (200, 202, 202),
    ("owen", "acme/secret"): (200, 202, 202),
    ("owen", "acme/new"): (404, 202, 404),
    ("admin", "acme/secret"): (200, 202, 202),
    ("admin", "missing/new"): (404, 403, 404),
}


@pytest.mark.parametrize(("who", "repository"), RIGHTS, ids="-".join)
@pytest.mark.parametrize("how", ["password", "token"])
def test_rights(town: Town, who: str, repository: str, how: str) -> None:
    if how == "password":
        headers = basic(who)
    else:
        token = town.token(who, f"repository:{repository}:pull,push,delete")
        headers = {"authorization": f"Bearer {token}"}
    pull, push, delete = RIGHTS[who, repository]
    manifest = f"/v2/{repository}/manifests/v1"
    assert town.client.get(manifest, headers=headers).status_code == pull
    assert town.client.head(manifest, headers=headers).status_code == pull
    tags = town.client.get(f"/v2/{repository}/tags/list", headers=headers)
    assert tags.status_code == pull
    begin = town.client.post(f"/v2/{repository}/blobs/uploads/", headers=headers)
    assert begin.status_code == push
    assert town.client.delete(manifest, headers=headers).status_code == delete


@pytest.mark.parametrize(("who", "status"), [("", 401), ("nora", 404), ("owen", 400)])
def test_a_push_is_permitted_before_its_manifest_is_read(
    town: Town, monkeypatch: pytest.MonkeyPatch, who: str, status: int
) -> None:
    read = []

    def parse(body: bytes, content_type: str | None) -> Manifest:
        read.append(body)
        return parse_manifest(body, content_type)

    monkeypatch.setattr(manifests, "parse_manifest", parse)
    body = b'{"schemaVersion":2,"layers":[1]}'
    answer = town.client.put("/v2/acme/app/manifests/v2", content=body, headers=basic(who))
    assert answer.status_code == status
    assert read == ([body] if status == 400 else [])


@pytest.mark.parametrize("who", ["", "nora"])
def test_what_may_not_be_seen_is_like_what_is_not_there(town: Town, who: str) -> None:
    """Both answers are the same to the letter, except for the name in the request."""
    answers = []
    for name in ("acme/app", "acme/xyz"):
        for method, path in (
            ("GET", "manifests/v1"),
            ("PUT", "manifests/v1"),
            ("DELETE", "manifests/v1"),
            ("GET", "tags/list"),
            ("GET", f"blobs/sha256:{'0' * 64}"),
            ("POST", "blobs/uploads/"),
            ("GET", f"referrers/sha256:{'0' * 64}"),
        ):
            body = image_manifest(b"x") if method == "PUT" else b""
            response = town.client.request(
                method, f"/v2/{name}/{path}", headers=basic(who), content=body
            )
            headers = {k: v.replace(name, "NAME") for k, v in response.headers.items()}
            answers.append((response.status_code, response.text.replace(name, "NAME"), headers))
    half = len(answers) // 2
    for seen, unseen in zip(answers[:half], answers[half:], strict=True):
        assert seen == unseen


def test_catalog_and_search_show_what_may_be_seen(town: Town) -> None:
    for who, names in {
        "admin": ["acme/app", "acme/open", "acme/secret"],
        "owen": ["acme/app", "acme/open", "acme/secret"],
        "rita": ["acme/app", "acme/open"],
        "nora": ["acme/open"],
    }.items():
        catalog = town.client.get("/v2/_catalog", headers=basic(who)).json()
        assert catalog["repositories"] == names
        found = town.client.get("/v1/search", params={"q": "ac"}, headers=basic(who)).json()
        assert [result["name"] for result in found["results"]] == names
        listed = town.api(who, "GET", "repositories")["repositories"]
        assert [f"{r['namespace']}/{r['name']}" for r in listed] == names
    found = town.client.get("/v1/search", params={"q": "ac"}).json()
    assert [result["name"] for result in found["results"]] == ["acme/open"]


def test_the_catalog_comes_in_pages(town: Town) -> None:
    first = town.client.get("/v2/_catalog?n=1", headers=basic("rita"))
    assert first.json()["repositories"] == ["acme/app"]
    link = first.headers["link"].partition(">")[0].lstrip("<")
    second = town.client.get(link, headers=basic("rita"))
    assert second.json()["repositories"] == ["acme/open"]
    assert "link" not in second.headers


def test_a_token_needs_the_catalogs_scope_for_the_catalog(town: Town) -> None:
    refused = town.get("/v2/_catalog", town.token("rita"))
    assert refused.status_code == 401
    assert 'scope="registry:catalog:*"' in refused.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]
    assert town.get("/v2/_catalog").status_code == 401
    public = town.get("/v2/_catalog", town.token("", "registry:catalog:*"))
    assert public.json()["repositories"] == ["acme/open"]
    token = town.token("rita", "registry:catalog:*")
    assert town.get("/v2/_catalog", token).json()["repositories"] == ["acme/app", "acme/open"]


def test_a_token_covers_what_was_asked_for_and_may_be_granted(town: Town) -> None:
    asked = [f"repository:acme/{n}:pull,push" for n in ("app", "secret", "open", "new")]
    assert granted(town.token("rita", *asked)) == {"acme/app": ["pull"], "acme/open": ["pull"]}
    assert granted(town.token("", *asked)) == {"acme/open": ["pull"]}
    assert granted(town.token("will", " ".join(asked)))["acme/app"] == ["pull", "push"]


@pytest.mark.parametrize(
    "scope",
    [
        "",
        "repository",
        "repository:acme/app",
        "repository::pull",
        "repository:ACME/APP:pull",
        "repository:acme/../app:pull",
        "repository:acme/app:*:*",
        "repository:acme/app\0:pull",
        "repository:acme/äpp:pull",
        "unknown:acme/app:pull",
        "repository:acme/app:fly",
        "registry:catalog",
        ":" * 500,
        "x" * 5000,
        "repository:acme/app:" + ",".join(["pull"] * 300),
    ],
)
def test_a_scope_that_makes_no_sense_gives_a_token_for_nothing(town: Town, scope: str) -> None:
    assert granted(town.token("owen", scope)) == {}


def test_a_name_with_a_port_is_split_at_the_last_colon(town: Town) -> None:
    assert granted(town.token("owen", "repository(plugin):acme/app:pull")) == {"acme/app": ["pull"]}
    assert granted(town.token("owen", "repository:localhost:5000/acme/app:pull")) == {}


# ---- what tokens bound -----------------------------------------------------------------------
def test_a_token_for_one_repository_is_not_for_another(town: Town) -> None:
    token = town.token("owen", "repository:acme/app:pull")
    assert town.get("/v2/acme/app/manifests/v1", token).status_code == 200
    refused = town.get("/v2/acme/secret/manifests/v1", token)
    assert failure(refused).status == 401
    assert 'scope="repository:acme/secret:pull"' in refused.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]


SPELLINGS = ["acme%2Fsecret", "acme%2fsecret", "acme//secret", "/acme/secret", "%61cme/secret"]


def test_a_name_has_the_same_rights_however_it_is_spelled(town: Town) -> None:
    other = {"authorization": f"Bearer {town.token('owen', 'repository:acme/app:pull')}"}
    for path in ("manifests/v1", "tags/list"):
        for headers in ({}, basic("nora"), basic("owen"), other):
            expected = _seen(town, f"/v2/acme/secret/{path}", headers)
            for name in SPELLINGS:
                for spelled in (f"/v2/{name}/{path}/", f"//v2//{name}/{path}"):
                    assert _seen(town, spelled, headers) == expected, (spelled, headers)


def _seen(town: Town, path: str, headers: dict[str, str]) -> tuple[int, bytes, str]:
    # Send the path unchanged: a client library would normalize some of it.
    exchange = town.client.run(asgi.ask(town.client.app, "GET", path, headers=headers))
    challenge = exchange.headers.get("www-authenticate", "")
    return exchange.status, exchange.content, challenge


UPLOADS = "/v2/acme/app/blobs/uploads/"
UPLOAD = f"{UPLOADS}01a225fb-9b40-7b90-8b3e-46365f917050"
BLOB = "sha256:" + "0" * 64
MOUNT = f"{UPLOADS}?mount={BLOB}&from="
APP = "repository:acme/app:"

CHALLENGES = [
    ("GET", "/v2/", ""),
    ("HEAD", "/v2/", ""),
    ("GET", "/v2/acme/app/manifests/v1", f"{APP}pull"),
    ("HEAD", "/v2/acme/app/manifests/v1", f"{APP}pull,push"),
    ("DELETE", "/v2/acme/app/manifests/v1", f"{APP}delete"),
    ("GET", f"/v2/acme/app/blobs/{BLOB}", f"{APP}pull"),
    ("HEAD", f"/v2/acme/app/blobs/{BLOB}", f"{APP}pull,push"),
    ("DELETE", f"/v2/acme/app/blobs/{BLOB}", f"{APP}delete"),
    ("GET", "/v2/acme/app/tags/list", f"{APP}pull"),
    ("HEAD", "/v2/acme/app/tags/list", f"{APP}pull"),
    ("GET", f"/v2/acme/app/referrers/{BLOB}", f"{APP}pull"),
    ("HEAD", f"/v2/acme/app/referrers/{BLOB}", f"{APP}pull"),
    ("POST", UPLOADS, f"{APP}pull,push"),
    ("POST", f"{UPLOADS}?digest={BLOB}", f"{APP}pull,push"),
    ("POST", f"{MOUNT}acme/secret", f"{APP}pull,push repository:acme/secret:pull"),
    ("POST", f"{MOUNT}acme%2Fsecret", f"{APP}pull,push repository:acme/secret:pull"),
    ("POST", f"{UPLOADS}?mount={BLOB}", f"{APP}pull,push"),
    ("POST", f"{MOUNT}acme/app", f"{APP}pull,push"),
    ("POST", f"{MOUNT}Not%22a,name", f"{APP}pull,push"),
    ("PATCH", UPLOAD, f"{APP}pull,push"),
    ("PUT", f"{UPLOAD}?digest={BLOB}", f"{APP}pull,push"),
    ("GET", UPLOAD, f"{APP}pull,push"),
    ("HEAD", UPLOAD, f"{APP}pull,push"),
    ("DELETE", UPLOAD, f"{APP}pull,push"),
    ("GET", "/v2/_catalog", "registry:catalog:*"),
]


def test_the_challenge_names_what_the_request_needs(town: Town) -> None:
    other = {"authorization": f"Bearer {town.token('owen', 'repository:a/b:pull')}"}
    wrong = {}
    for method, path, scope in CHALLENGES:
        # /v2/ needs no scope, because it only tells that this is a registry. Visitors may list
        # public repositories.
        asked = [{}] if path == "/v2/" else [other] if "_catalog" in path else [{}, other]
        for headers in asked:
            answer = town.client.request(method, path, headers=headers)
            found = re.findall(r'scope="([^"]*)"', answer.headers.get("www-authenticate", ""))
            if (answer.status_code, found) != (401, [scope] if scope else []):
                wrong[method, path, len(headers)] = (answer.status_code, found)
    assert wrong == {}


def test_a_token_for_what_was_challenged_grants_what_the_user_may(town: Town) -> None:
    """Some clients ask for exactly the challenge's scope, and keep the token."""
    digest = town.push("acme/secret", b"secret content")
    scope = f"{APP}pull,push repository:acme/secret:pull"
    mount = f"{UPLOADS}?mount={digest}&from=acme/secret"
    headers = {"authorization": f"Bearer {town.token('owen', scope)}"}
    assert town.client.post(mount, headers=headers).status_code == 201
    assert granted(town.token("rita", scope)) == {"acme/app": ["pull"]}
    assert granted(town.token("", scope)) == {}


def test_a_token_to_pull_does_not_push(town: Town) -> None:
    token = town.token("owen", "repository:acme/app:pull")
    headers = {"authorization": f"Bearer {token}"}
    refused = town.client.post("/v2/acme/app/blobs/uploads/", headers=headers)
    assert refused.status_code == 401
    assert 'scope="repository:acme/app:pull,push"' in refused.headers["www-authenticate"]
    assert town.client.delete("/v2/acme/app/manifests/v1", headers=headers).status_code == 401


def test_the_blob_of_a_private_repository_is_not_in_a_public_one(town: Town) -> None:
    digest = town.push("acme/secret", b"secret content")
    for who in ("", "nora", "rita"):
        path = f"/v2/acme/open/blobs/{digest}"
        assert town.client.get(path, headers=basic(who)).status_code == 404
        assert town.client.head(path, headers=basic(who)).status_code == 404


@pytest.mark.parametrize("source", ["&from=acme/secret", "&from=acme/xyz", "&from=..", ""])
def test_a_mount_of_what_may_not_be_read_is_an_upload(town: Town, source: str) -> None:
    digest = town.push("acme/secret", b"secret content")
    for how in (basic("nora"), _bearer(town, "nora", "repository:nora/x:pull,push")):
        url = f"/v2/nora/x/blobs/uploads/?mount={digest}{source}"
        answer = town.client.post(url, headers=how)
        assert answer.status_code == 202
        assert digest not in answer.text + str(answer.headers)


def test_a_mount_of_what_may_be_read(town: Town) -> None:
    digest = town.push("acme/app", b"shared content")
    url = f"/v2/rita/x/blobs/uploads/?mount={digest}&from=acme/app"
    both = _bearer(town, "rita", "repository:rita/x:pull,push", "repository:acme/app:pull")
    assert town.client.post(url, headers=both).status_code == 201
    only = _bearer(town, "rita", "repository:rita/y:pull,push")
    assert town.client.post(url.replace("rita/x", "rita/y"), headers=only).status_code == 202


def _bearer(town: Town, who: str, *scopes: str) -> dict[str, str]:
    return {"authorization": f"Bearer {town.token(who, *scopes)}"}


def test_what_others_stored_does_not_show(town: Town) -> None:
    """Deduplication is no oracle: pushes of known bytes and of new bytes get the same answers."""
    town.push("acme/secret", b"known to others")
    answers = []
    for content in (b"known to others", b"new to everybody"):
        digest = str(Digest.of_bytes(content))
        head = town.client.head(f"/v2/nora/x/blobs/{digest}", headers=basic("nora"))
        post = town.client.post("/v2/nora/x/blobs/uploads/", headers=basic("nora"))
        url = f"{post.headers['location']}?digest={digest}"
        put = town.client.put(url, headers=basic("nora"), content=content)
        shown = {name: v.replace(digest, "DIGEST") for name, v in put.headers.items()}
        answers.append((head.status_code, post.status_code, put.status_code, shown))
    assert answers[0] == answers[1]


# ---- at once ---------------------------------------------------------------------------------
def test_a_grant_that_is_taken_back_ends_with_the_next_request(town: Town) -> None:
    headers = _bearer(town, "will", "repository:acme/app:pull,push")
    assert town.client.get("/v2/acme/app/manifests/v1", headers=headers).status_code == 200
    town.api("owen", "DELETE", "repositories/acme/app/teamAccess/writers", status=204)
    assert town.client.get("/v2/acme/app/manifests/v1", headers=headers).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "accounts/will/deactivate"),
        ("DELETE", "accounts/will"),
        ("POST", "accounts/will/resetPassword"),
    ],
)
def test_what_was_signed_in_ends_with_the_account(town: Town, method: str, path: str) -> None:
    headers = _bearer(town, "will", "repository:acme/app:pull")
    assert town.client.get("/v2/acme/app/manifests/v1", headers=headers).status_code == 200
    town.api("admin", method, path, status=None)
    refused = town.client.get("/v2/acme/app/manifests/v1", headers=headers)
    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]
    assert town.client.get("/v2/", headers=basic("will")).status_code == 401


def test_a_revoked_upload_is_refused_at_its_end(town: Town) -> None:
    headers = _bearer(town, "will", "repository:acme/app:pull,push")
    begin = town.client.post("/v2/acme/app/blobs/uploads/", headers=headers)
    location = begin.headers["location"]
    assert town.client.patch(location, headers=headers, content=b"half").status_code == 202
    town.api("owen", "DELETE", "accounts/acme/teams/writers/members/will", status=204)
    put = town.client.put(f"{location}?digest=sha256:{'0' * 64}", headers=headers, content=b"more")
    assert put.status_code == 404


def test_an_upload_belongs_to_the_caller_that_began_it(town: Town) -> None:
    begin = town.client.post("/v2/acme/app/blobs/uploads/", headers=basic("will"))
    location = begin.headers["location"]
    for method in ("GET", "PATCH", "DELETE"):
        answer = town.client.request(method, location, headers=basic("ada"), content=b"")
        assert answer.status_code == 404
    assert town.client.get(location, headers=basic("will")).status_code == 204


# ---- repositories ----------------------------------------------------------------------------
def test_a_push_makes_a_private_repository_of_ones_own(town: Town) -> None:
    town.push("nora/new", b"x", "nora")
    made = town.api("nora", "GET", "repositories/nora/new")
    assert (made["visibility"], made["accessLevel"]) == ("private", "admin")
    assert town.client.get("/v2/nora/new/manifests/v1", headers=basic("rita")).status_code == 404


def test_a_push_makes_nothing_where_that_is_switched_off(town: Town) -> None:
    town.api("admin", "PUT", "admin/settings/access", {"createOnPush": False})
    refused = town.client.post("/v2/nora/new/blobs/uploads/", headers=basic("nora"))
    assert failure(refused).status == 403
    town.api("nora", "POST", "repositories/nora", {"name": "new"}, 201)
    assert town.client.post("/v2/nora/new/blobs/uploads/", headers=basic("nora")).is_success


def test_what_a_push_makes_is_public_where_a_setting_says_so(town: Town) -> None:
    town.push("nora/before", b"x", who="nora")
    town.api("admin", "PUT", "admin/settings/access", {"publicOnPush": True})
    made = {"nora/image": "nora", "tools": "admin"}
    for name, who in made.items():
        town.push(name, b"x", who=who)
        assert _pulls(town, name) == 200, name
    digest = town.push("acme/open", b"mounted")
    url = f"/v2/nora/mounted/blobs/uploads/?mount={digest}&from=acme/open"
    assert town.client.post(url, headers=basic("nora")).status_code == 201
    assert town.api("nora", "GET", "repositories/nora/mounted")["visibility"] == "public"
    town.api("nora", "POST", "repositories/nora", {"name": "made"}, 201)
    assert town.api("nora", "GET", "repositories/nora/made")["visibility"] == "private"
    town.push("nora/before", b"x", who="nora", tag="v2")
    assert _pulls(town, "nora/before") == 401, "an older repository keeps its visibility"
    town.api("admin", "PUT", "admin/settings/access", {})
    town.push("nora/after", b"x", who="nora")
    assert _pulls(town, "nora/after") == 401
    assert _pulls(town, "nora/image") == 200


def _pulls(town: Town, name: str) -> int:
    """Return the status of a pull by a client that does not sign in."""
    return town.client.get(f"/v2/{name}/manifests/v1").status_code


def test_visibility_changes_at_once(town: Town) -> None:
    assert town.get("/v2/acme/app/manifests/v1", town.token("")).status_code == 401
    town.api("ada", "PATCH", "repositories/acme/app", {"visibility": "public"})
    assert town.get("/v2/acme/app/manifests/v1", town.token("")).status_code == 401
    token = town.token("", "repository:acme/app:pull")
    assert town.get("/v2/acme/app/manifests/v1", token).status_code == 200
    town.api("ada", "PATCH", "repositories/acme/app", {"visibility": "private"})
    assert town.get("/v2/acme/app/manifests/v1", token).status_code == 401


def test_a_grant_on_a_namespace(town: Town) -> None:
    path = "repositoryNamespaces/acme/teamAccess/readers"
    town.api("owen", "PUT", path, {"accessLevel": "read-only"})
    assert town.client.get("/v2/acme/secret/manifests/v1", headers=basic("rita")).is_success
    assert not town.client.post("/v2/acme/new/blobs/uploads/", headers=basic("rita")).is_success
    town.api("owen", "PUT", path, {"accessLevel": "admin"})
    assert town.client.post("/v2/acme/new/blobs/uploads/", headers=basic("rita")).is_success
    town.api("rita", "POST", "repositories/acme", {"name": "made"}, 201)
    town.api("rita", "DELETE", "repositories/acme/made", status=204)


def test_grants_add_up(town: Town) -> None:
    path = "repositories/acme/app/userAccess/rita"
    town.api("ada", "PUT", path, {"accessLevel": "read-write"})
    assert town.client.post("/v2/acme/app/blobs/uploads/", headers=basic("rita")).is_success
    access = town.api("rita", "GET", "accounts/rita/repositoryAccess/acme/app")
    assert access["accessLevel"] == "read-write"
    town.api("ada", "DELETE", path, status=204)
    assert not town.client.post("/v2/acme/app/blobs/uploads/", headers=basic("rita")).is_success


def test_an_admin_in_a_team_of_readers_stays_an_admin(town: Town) -> None:
    """This case is from the release notes of Docker Trusted Registry 1.4.2."""
    town.api("owen", "PUT", "accounts/acme/teams/readers/members/admin")
    assert town.client.post("/v2/acme/app/blobs/uploads/", headers=basic("admin")).is_success
    town.api("admin", "GET", "admin/settings/access")


def test_a_deleted_repository_does_not_come_back_with_its_grants(town: Town) -> None:
    town.api("owen", "DELETE", "repositories/acme/app", status=204)
    assert town.client.get("/v2/acme/app/manifests/v1", headers=basic("owen")).status_code == 404
    town.api("owen", "POST", "repositories/acme", {"name": "app"}, 201)
    assert town.client.get("/v2/acme/app/tags/list", headers=basic("rita")).status_code == 404

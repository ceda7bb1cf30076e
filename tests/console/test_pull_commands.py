"""The pull command of a repository and of an image: what it names, and for which client."""

from __future__ import annotations

import re
from html import unescape

import httpx
import pytest

from dtrfast.api.browsers import SECURE_PREFIX
from dtrfast.oci.media_types import OCI_MANIFEST
from tests.api.managed.test_deletion import image, put
from tests.api.managed.test_folded_tags import tag_of
from tests.api.managed.town import Town
from tests.console.browser import Browser
from tests.console.test_images import BAD_LAYER, HELM, odd_image, push_artifact

APP = "/repositories/acme/app"
REFERENCE = "registry/acme/app:v1"
COMMANDS = {
    "docker": (f"docker pull {REFERENCE}", "docker login registry"),
    "podman": (f"podman pull --tls-verify=false {REFERENCE}", "podman login --tls-verify=false"),
    "nerdctl": (f"nerdctl --insecure-registry pull {REFERENCE}", "nerdctl login registry"),
    "ctr": (f"ctr image pull --plain-http --user rita {REFERENCE}", ""),
    "crictl": (f"crictl pull --creds rita:TOKEN {REFERENCE}", "/users/rita/tokens"),
    "kubernetes": (
        f"containers:\n- name: app\n  image: {REFERENCE}\nimagePullSecrets:\n- name: dtrfast",
        "kubectl create secret docker-registry dtrfast --docker-server=registry",
    ),
    "skopeo": (
        f"skopeo copy --src-tls-verify=false docker://{REFERENCE} oci:app:v1",
        "skopeo login --tls-verify=false registry",
    ),
}


def box(answer: httpx.Response) -> str:
    """Return the card with the pull command; empty if there is none."""
    found = re.search(r'<section class="card pull".*?</section>', answer.text, re.DOTALL)
    return unescape(found[0]) if found else ""


def command(answer: httpx.Response) -> str:
    """Return the pull command, which a button copies."""
    return str(re.findall(r'data-copy="([^"]*)"', box(answer), re.DOTALL)[0])


def test_one_command_is_shown_for_the_client_of_the_address(town: Town) -> None:
    rita = Browser(town, "rita")
    for client, (wanted, beside) in COMMANDS.items():
        for page in ("", "/-/tags/v1"):
            answer = rita.get(f"{APP}{page}?client={client}")
            assert command(answer) == wanted, client
            assert beside in box(answer), client
            others = {one for one, _ in COMMANDS.values()} - {wanted}
            assert not any(other in box(answer) for other in others), client
            assert f'<option value="{client}" selected>' in box(answer), client


def test_a_public_repository_needs_no_sign_in(town: Town) -> None:
    for client in COMMANDS:
        text = box(Browser(town).get(f"/repositories/acme/open?client={client}"))
        assert "registry/acme/open:v1" in text
        assert not re.search("login|--user|--creds|TOKEN|imagePullSecrets", text), client


def test_a_tag_is_not_taken_for_a_secret(town: Town) -> None:
    for tag in ("TOKEN-1", "imagePullSecrets"):
        town.push("acme/open", b"content", tag=tag)
        for client in ("docker", "crictl", "kubernetes"):
            text = box(Browser(town).get(f"/repositories/acme/open/-/tags/{tag}?client={client}"))
            assert tag in text
            assert not re.search("private|create a token|kubectl", text), (client, tag)


def test_the_choice_of_a_client_is_kept(town: Town) -> None:
    rita = Browser(town, "rita")
    chosen = rita.get(f"{APP}?client=podman")
    (kept,) = chosen.headers.get_list("set-cookie")
    name, _, rest = kept.partition("=")
    assert (name, rest.partition(";")[0]) == ("dtrfast_client", "podman")
    assert "HttpOnly; SameSite=Strict" in kept
    assert not kept.startswith(SECURE_PREFIX)
    cookie = {"cookie": kept.partition(";")[0]}
    for page in (APP, f"{APP}/-/tags/v1", "/repositories/acme/open"):
        answer = rita.get(page, **cookie)
        assert command(answer).startswith("podman pull"), page
        assert "set-cookie" not in answer.headers
    # A chart has clients of its own, and the choice of a client for images stays.
    push_artifact(town, "1.0", HELM)
    chart = rita.get(f"{APP}/-/tags/1.0", **cookie)
    assert command(chart) == "helm pull oci://registry/acme/app --version 1.0 --plain-http"
    assert "helm registry login --plain-http registry" in box(chart)
    chosen = rita.get(f"{APP}/-/tags/1.0?client=oras", **cookie)
    cookie = {"cookie": chosen.headers["set-cookie"].partition(";")[0]}
    assert cookie == {"cookie": "dtrfast_client=oras.podman"}
    assert command(rita.get(f"{APP}/-/tags/1.0", **cookie)).startswith("oras pull")
    assert command(rita.get(f"{APP}/-/tags/v1", **cookie)).startswith("podman pull")
    for unknown in ("none", "docker%0d%0aset-cookie:x=1", ""):
        answer = rita.get(f"{APP}/-/tags/v1?client={unknown}")
        assert command(answer).startswith("docker pull"), unknown
        assert "set-cookie" not in answer.headers, unknown


def test_a_repository_is_pulled_by_latest_or_else_by_its_newest_tag(town: Town) -> None:
    rita = Browser(town, "rita")
    assert command(rita.get(APP)) == "docker pull registry/acme/app:v1"
    digest = put(town, image("1"), "newest")
    put(town, image("sig"), tag_of(digest, ".sig"))
    assert command(rita.get(APP)) == "docker pull registry/acme/app:newest"
    # A tag behind `latest` in the order of names.
    put(town, image("2"), "latest-alpine")
    put(town, image("3"), "latest")
    put(town, image("4"), "newer")
    assert command(rita.get(APP)) == "docker pull registry/acme/app:latest"
    town.api("owen", "DELETE", "repositories/acme/app/manifests/latest", status=204)
    assert command(rita.get(APP)) == "docker pull registry/acme/app:newer"


def test_a_tag_that_clients_cannot_pull_is_named_last(town: Town) -> None:
    town.keep_manifest("latest", odd_image(**BAD_LAYER), OCI_MANIFEST)
    push_artifact(town, "cache", "application/vnd.buildkit.cacheconfig.v0")
    owen = Browser(town, "owen")
    assert command(owen.get(APP)) == "docker pull registry/acme/app:v1"
    town.api("owen", "DELETE", "repositories/acme/app/manifests/v1", status=204)
    assert command(owen.get(APP)) == "docker pull registry/acme/app:latest"


@pytest.mark.parametrize("who", ["owen", "nora"])
def test_an_empty_repository_names_no_tag(town: Town, who: str) -> None:
    body = {"name": "empty", "visibility": "public"}
    town.api("owen", "POST", "repositories/acme", body, 201)
    text = Browser(town, who).get("/repositories/acme/empty").text
    assert "docker pull" not in text
    assert "latest" not in text.lower()
    assert ("docker push registry/acme/empty:TAG" in text) == (who == "owen")
    assert ("You need push access" in text) == (who == "nora")


def test_an_image_can_be_pulled_by_digest(town: Town) -> None:
    rita = Browser(town, "rita")
    digest = put(town, image("1"), "a")
    assert f"registry/acme/app@{digest}" in box(rita.get(f"{APP}/-/tags/a"))
    by_digest = rita.get(f"{APP}/-/manifests/{digest}?client=skopeo")
    wanted = f"docker://registry/acme/app@{digest} oci:app"
    assert command(by_digest) == f"skopeo copy --src-tls-verify=false {wanted}"


def test_the_page_begins_with_readme_tags_and_command(town: Town) -> None:
    readme = {"longDescription": "# Use it"}
    town.api("owen", "PATCH", "repositories/acme/app", readme)
    text = Browser(town, "rita").get(APP).text
    places = [text.index(part) for part in (">Use it", ">Latest tags<", ">Pull<", ">About<")]
    assert places == sorted(places)

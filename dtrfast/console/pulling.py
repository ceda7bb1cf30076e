"""The command that pulls an image or an artifact, in the words of the client that a user prefers.

The choice of a client comes from the address (`?client=podman`), else from a cookie with earlier
choices, the latest first. So it works without scripts, and holds for all repositories. A choice for
charts does not replace that for images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from dtrfast.api import browsers
from dtrfast.config import is_loopback_host
from dtrfast.console.page import PageRequest

COOKIE = "dtrfast_client"
_SECONDS = 365 * 86_400

LABELS: Mapping[str, str] = {
    "docker": "Docker",
    "podman": "Podman",
    "nerdctl": "nerdctl",
    "ctr": "ctr",
    "crictl": "crictl",
    "kubernetes": "Kubernetes",
    "skopeo": "skopeo",
    "helm": "Helm",
    "oras": "ORAS",
    "buildx": "Docker Buildx",
}
_IMAGES = ("docker", "podman", "nerdctl", "ctr", "crictl", "kubernetes", "skopeo")
# The clients of other kinds of artifacts; those without a line here have `_ARTIFACTS`.
_BY_KIND: Mapping[str, tuple[str, ...]] = {
    "image": _IMAGES,
    "index": _IMAGES,
    "Helm chart": ("helm", "oras"),
    "build cache": ("buildx",),
}
_ARTIFACTS = ("oras", "skopeo")


@dataclass(frozen=True, slots=True)
class PullSource:
    """An image to pull: a repository with its host (`registry.example/acme/app`), the image's kind
    and digest, and a tag or an empty text.

    `user` is the user who signs in to a private repository, or `USER` if none is signed in; empty
    for other repositories. `is_plain`: the registry is reached without TLS.
    """

    place: str
    kind: str
    digest: str
    tag: str
    user: str
    is_plain: bool

    @property
    def host(self) -> str:
        return self.place.partition("/")[0]

    @property
    def reference(self) -> str:
        return f"{self.place}:{self.tag}" if self.tag else f"{self.place}@{self.digest}"

    def plain(self, option: str) -> str:
        """Return an option of a command that is needed without TLS; else an empty text."""
        return f" {option}" if self.is_plain else ""


@dataclass(frozen=True, slots=True)
class PullBox:
    """A pull command for one client, and the clients to choose from, as pairs of a value and a
    label. `sign_in` is the command to run first; empty if there is none. `secret` is what the user
    puts into the command itself: a token, or the name of a pull secret. `by_digest` is the same
    image under the name that never moves; empty if `command` has it.
    """

    client: str
    clients: tuple[tuple[str, str], ...]
    command: str
    sign_in: str
    secret: Literal["", "token", "pull secret"]
    by_digest: str


def box_of(
    page: PageRequest, name: str, kind: str, digest: str, tag: str, *, is_private: bool
) -> PullBox:
    """Return the pull command for the client that the user prefers, or else for the first one."""
    user = (page.caller.actor if page.is_signed_in else "USER") if is_private else ""
    is_plain = page.external.startswith("http://")
    source = PullSource(f"{page.host}/{name}", kind, digest, tag, user, is_plain)
    clients = _BY_KIND.get(kind, _ARTIFACTS)
    wanted = (page.query.get("client", ""), *_kept(page))
    client = next((one for one in wanted if one in clients), clients[0])
    return PullBox(
        client=client,
        clients=tuple((one, LABELS[one]) for one in clients),
        command=_COMMANDS[client](source),
        sign_in=_sign_in(client, source) if is_private else "",
        secret=_SECRETS.get(client, "") if is_private else "",
        by_digest=f"{source.place}@{digest}" if tag else "",
    )


def cookies_of(page: PageRequest) -> tuple[str, ...]:
    """Return the Set-Cookie headers of a page: with a choice in its address, the one that keeps
    it.
    """
    client = page.query.get("client", "")
    if client not in LABELS:
        return ()
    text = ".".join(dict.fromkeys([client, *_kept(page)]))
    is_secure = page.client.is_secure
    return (browsers.cookie(COOKIE, text, _SECONDS, is_secure=is_secure, same_site="Strict"),)


def _kept(page: PageRequest) -> list[str]:
    """Return the earlier choices, the latest first."""
    return [one for one in page.cookies.get(COOKIE, "").split(".") if one in LABELS]


# ---- commands ----------------------------------------------------------------------------------
def _nerdctl(source: PullSource) -> str:
    # It accepts plain HTTP from this machine without an option.
    is_local = is_loopback_host(urlsplit(f"//{source.host}").hostname or "")
    insecure = "" if is_local else source.plain("--insecure-registry")
    return f"nerdctl{insecure} pull {source.reference}"


def _ctr(source: PullSource) -> str:
    user = f" --user {source.user}" if source.user else ""
    return f"ctr image pull{source.plain('--plain-http')}{user} {source.reference}"


def _crictl(source: PullSource) -> str:
    credentials = f" --creds {source.user}:TOKEN" if source.user else ""
    return f"crictl pull{credentials} {source.reference}"


def _kubernetes(source: PullSource) -> str:
    secret = "\nimagePullSecrets:\n- name: dtrfast" if source.user else ""
    return f"containers:\n- name: app\n  image: {source.reference}{secret}"


def _skopeo(source: PullSource) -> str:
    folder = source.place.rpartition("/")[2] + (f":{source.tag}" if source.tag else "")
    insecure = source.plain("--src-tls-verify=false")
    return f"skopeo copy{insecure} docker://{source.reference} oci:{folder}"


def _helm(source: PullSource) -> str:
    # Helm writes the plus of a version as an underscore, which tags may have.
    version = f" --version {source.tag.replace('_', '+')}" if source.tag else f"@{source.digest}"
    return f"helm pull oci://{source.place}{version}{source.plain('--plain-http')}"


_COMMANDS: Mapping[str, Callable[[PullSource], str]] = {
    "docker": lambda one: f"docker pull {one.reference}",
    "podman": lambda one: f"podman pull{one.plain('--tls-verify=false')} {one.reference}",
    "nerdctl": _nerdctl,
    "ctr": _ctr,
    "crictl": _crictl,
    "kubernetes": _kubernetes,
    "skopeo": _skopeo,
    "helm": _helm,
    "oras": lambda one: f"oras pull {one.reference}{one.plain('--plain-http')}",
    "buildx": lambda one: f"docker buildx build --cache-from type=registry,ref={one.reference} .",
}
# The commands of clients that keep a sign-in, with the option that they need without TLS.
_SIGN_INS: Mapping[str, tuple[str, str]] = {
    "docker": ("docker login", ""),
    "podman": ("podman login", "--tls-verify=false"),
    "nerdctl": ("nerdctl login", ""),
    "skopeo": ("skopeo login", "--tls-verify=false"),
    "helm": ("helm registry login", "--plain-http"),
    "oras": ("oras login", "--plain-http"),
    "buildx": ("docker login", ""),
}

# The clients that get a secret with each pull.
_SECRETS: Mapping[str, Literal["token", "pull secret"]] = {
    "crictl": "token",
    "kubernetes": "pull secret",
}


def _sign_in(client: str, source: PullSource) -> str:
    command, option = _SIGN_INS.get(client, ("", ""))
    return f"{command}{source.plain(option) if option else ''} {source.host}" if command else ""

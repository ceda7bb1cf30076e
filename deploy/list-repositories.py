#!/usr/bin/env python3
"""Lists the repositories of a registry, one on each line, for migrate.sh:

    list-repositories.py KIND ADDRESS > list

KIND is `distribution` for a registry with a catalog (registry:2, registry:3, dtrfast), `harbor`, or
`dtr` for Docker Trusted Registry and Mirantis Secure Registry. ADDRESS is a host or a URL. The user
should be an administrator, because registries leave out what the user may not see.

It signs in as `skopeo login`, `podman login` or `docker login` has done before. REGISTRY_USERNAME
and REGISTRY_PASSWORD replace that; it asks for a password that is not set. SSL_CERT_FILE names a
file with certificates to trust. If a page is missing, it prints no list and ends with status 1.
"""

from __future__ import annotations

import base64
import getpass
import http.client
import json
import os
import re
import sys
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urljoin, urlsplit

_TIMEOUT_SECONDS = 60
_PAGE = 100


class ListingFailed(Exception):
    """The reason why there is no list."""


# ---- credentials ---------------------------------------------------------------------------------
def credentials(host: str) -> str:
    """Return the base64 of `name:password` for a host; empty if there are none."""
    if name := os.environ.get("REGISTRY_USERNAME"):
        password = os.environ.get("REGISTRY_PASSWORD")
        if password is None:
            password = _ask(f"password of {name} at {host}: ")
        return base64.b64encode(f"{name}:{password}".encode()).decode()
    for path in _credential_files():
        try:
            found = json.loads(path.read_text()).get("auths") or {}
        except FileNotFoundError:
            continue
        for key in (host, f"https://{host}", f"http://{host}"):
            if auth := (found.get(key) or {}).get("auth"):
                return str(auth)
    return ""


def _ask(question: str) -> str:
    try:
        return getpass.getpass(question)
    except EOFError as error:  # Ctrl-D
        raise ListingFailed("no password was given") from error


def _credential_files() -> Iterator[Path]:
    """Yield the files of skopeo and podman, then that of docker."""
    home = Path.home()
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if named := os.environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    yield Path(
        f"{runtime}/containers" if runtime else f"/run/containers/{os.getuid()}", "auth.json"
    )
    yield Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config", "containers/auth.json")
    yield Path(os.environ.get("DOCKER_CONFIG") or home / ".docker", "config.json")


# ---- requests ------------------------------------------------------------------------------------
def _fetch(url: str, authorization: str) -> tuple[Any, Message]:
    """Return a JSON document and the headers of the answer."""
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    if authorization:
        # A redirect does not take it to another host.
        request.add_unredirected_header("Authorization", authorization)
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
        return json.load(answer), answer.headers


class Registry:
    """A registry, and the credentials for it."""

    def __init__(self, address: str) -> None:
        self.url = (address if "://" in address else f"https://{address}").rstrip("/")
        self._basic = credentials(urlsplit(self.url).netloc)
        self._authorization = f"Basic {self._basic}" if self._basic else ""

    def require_user(self) -> None:
        """Refuse to go on as an anonymous caller, which would see public repositories only."""
        if not self._basic:
            raise ListingFailed("no credentials: sign in with `skopeo login`, see the help")

    def get(self, url: str) -> tuple[Any, Message]:
        """Return a JSON document and the headers of the answer. A token is renewed."""
        try:
            return _fetch(url, self._authorization)
        except HTTPError as error:
            asked = [
                text for text in error.headers.get_all("www-authenticate", []) if _is_bearer(text)
            ]
            if error.code != 401 or not asked:
                raise
        self._authorization = f"Bearer {self._token(asked[0])}"
        return _fetch(url, self._authorization)

    def pages(self, path: str) -> Iterator[Any]:
        """Yield the documents of a list whose pages name the next one in the header Link."""
        url = self.url + path
        seen = set()
        while url:
            if url in seen:
                raise ListingFailed(f"{url}: the next page is a page before it")
            seen.add(url)
            document, headers = self.get(url)
            yield document
            url = self._next(url, ", ".join(headers.get_all("link", [])))

    def _next(self, url: str, links: str) -> str:
        found = re.search(r'<([^>]*)>[^<]*;\s*rel="?next\b', links)
        if found is None:
            return ""
        # A registry behind a proxy may name another scheme or host, where no password may go.
        here, there = urlsplit(self.url), urlsplit(urljoin(url, found[1]))
        return there._replace(scheme=here.scheme, netloc=here.netloc).geturl()

    def _token(self, challenge: str) -> str:
        fields: dict[str, str] = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        realm = fields.get("realm", "")
        allowed = ("https://",) if self.url.startswith("https://") else ("https://", "http://")
        if not realm.startswith(allowed):
            raise ListingFailed(f"its tokens come from an address without TLS: {realm!r}")
        query = urlencode({name: fields[name] for name in ("service", "scope") if name in fields})
        url = f"{realm}{'&' if '?' in realm else '?'}{query}"
        document, _ = _fetch(url, f"Basic {self._basic}" if self._basic else "")
        return str(document.get("token") or document["access_token"])


def _is_bearer(challenge: str) -> bool:
    return challenge.lower().startswith("bearer ")


# ---- kinds of registries -------------------------------------------------------------------------
def of_distribution(registry: Registry) -> Iterator[str]:
    # Without a number the registry chooses its own, and refuses none.
    for page in registry.pages("/v2/_catalog"):
        yield from page["repositories"] or []


def of_harbor(registry: Registry) -> Iterator[str]:
    registry.require_user()
    first = f"page=1&page_size={_PAGE}"
    for projects in registry.pages(f"/api/v2.0/projects?{first}"):
        for project in projects:
            path = f"/api/v2.0/projects/{quote(project['name'], safe='')}/repositories?{first}"
            for page in registry.pages(path):
                yield from (repository["name"] for repository in page)


def of_dtr(registry: Registry) -> Iterator[str]:
    registry.require_user()
    start = ""
    while True:
        query = urlencode({"pageSize": _PAGE, **({"pageStart": start} if start else {})})
        page, headers = registry.get(f"{registry.url}/api/v0/repositories?{query}")
        yield from (f"{one['namespace']}/{one['name']}" for one in page["repositories"])
        following = headers.get("x-next-page-start", "")
        if not following:
            return
        if following == start:
            raise ListingFailed(f"the page after {start} is the same page")
        start = following


KINDS = {"distribution": of_distribution, "harbor": of_harbor, "dtr": of_dtr}


def main(arguments: list[str]) -> int:
    if len(arguments) != 2 or arguments[0] not in KINDS:
        sys.stderr.write(__doc__ or "")
        return 2
    kind, address = arguments
    try:
        names = sorted(set(KINDS[kind](Registry(address))))
    except HTTPError as error:
        said = error.read(500).decode(errors="replace").strip()
        sys.stderr.write(f"{error.url}: {error.code} {error.reason} {said}\n")
        return 1
    except (ListingFailed, OSError, ValueError, http.client.HTTPException) as error:
        sys.stderr.write(f"{address}: {error}\n")
        return 1
    except (KeyError, TypeError, AttributeError) as error:
        sys.stderr.write(f"{address}: the answer is not one of {kind}: {error!r}\n")
        return 1
    sys.stdout.write("".join(f"{name}\n" for name in names))
    sys.stderr.write(f"{len(names)} repositories\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A registry for a test, with functions that push and read small images."""

from __future__ import annotations

import contextlib
import itertools
import json
import secrets
import ssl
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from dtrfast.errors import DtrfastError, Invalid
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName, Tag
from dtrfast.testing import content
from dtrfast.testing.content import Files, PushedManifest
from dtrfast.testing.process import ServerFailed, ServerProcess, environment_of

_TIMEOUT_SECONDS = 60.0
_PASSWORD_MARK = "password  "
# All that clients push, so that a manifest comes as it was pushed.
_ACCEPT = ", ".join(
    [
        content.MANIFEST_TYPE,
        content.INDEX_TYPE,
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ]
)


class RequestFailed(DtrfastError):
    """The registry under test refused a request of a helper. The message has its answer, `status`
    the status of that.
    """

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Credentials:
    """The name of an account and its password, or a token in its place."""

    name: str
    password: str


class Registry:
    """A running registry. `registry` makes one; a test does not.

    `url` is its address such as http://127.0.0.1:41234, `host` the same without the scheme, for
    names of images. `data` is its data directory. `admin` has the credentials of the administrator:
    a password, or a token for a day if the data directory had accounts before. It is None if
    accounts are off, or if there is no account `admin`.
    """

    def __init__(
        self, process: ServerProcess, data: Path, authority: str, *, has_accounts: bool
    ) -> None:
        """Wait until the registry answers. `authority` is a PEM file of certificates to trust."""
        self._process = process
        self.data = data
        self.url = process.wait_for_url()
        self.host = self.url.partition("://")[2]
        trust = ssl.create_default_context(cafile=authority) if authority else True
        self._client = httpx.Client(
            base_url=self.url, timeout=_TIMEOUT_SECONDS, verify=trust, trust_env=False
        )
        self._numbers = itertools.count(1)
        self._check(self._client.get("/readyz"))
        self._token_id = ""
        self.admin = self._find_admin() if has_accounts else None

    def log(self) -> str:
        """Return all lines that the registry has written, with its requests."""
        return self._process.log()

    def new_repository(self, prefix: str = "test") -> str:
        """Return the name of a repository that no test has used, such as `test-3`. Raises
        ValueError for a malformed prefix.
        """
        return self._parse(f"{prefix}-{next(self._numbers)}@")[0]

    # ---- pushes ----------------------------------------------------------------------------------
    def push_image(
        self,
        name: str,
        layers: Sequence[Files] | None = None,
        *,
        platform: str = "linux/amd64",
        config: Mapping[str, Any] | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> PushedManifest:
        """Push an image, such as `team/app:v1`, with a layer for each mapping of paths to contents.

        Without `layers` it has one with a file. Equal arguments give equal digests. A name without
        a tag is pushed as `latest`, and `team/app@` only by its digest. `config` are settings such
        as {"Cmd": ["/app"]}. Raises `RequestFailed`, and ValueError for a malformed name or
        platform.
        """
        repository, tag = self._parse(name)
        packed = [content.layer_of(files) for files in layers or [{"hello.txt": b"hello\n"}]]
        described = content.config_of(platform, [diff_id for _, diff_id in packed], config or {})
        manifest = content.manifest_of(
            self.push_blob(repository, described, content.CONFIG_TYPE),
            [self.push_blob(repository, layer, content.LAYER_TYPE) for layer, _ in packed],
            annotations=annotations,
        )
        return self.push_manifest(repository, tag, manifest, content.MANIFEST_TYPE)

    def push_index(self, name: str, images: Mapping[str, Sequence[Files]]) -> PushedManifest:
        """Push an index with an image for each platform. `images` has the layers of each.

        Raises as `push_image`.
        """
        repository, tag = self._parse(name)
        entries = []
        for platform, layers in images.items():
            image = self.push_image(f"{repository}@", layers, platform=platform)
            entry = {**descriptor(image), "platform": content.platform_of(platform)}
            entries.append(entry)
        return self.push_manifest(repository, tag, content.index_of(entries), content.INDEX_TYPE)

    def push_artifact(
        self,
        name: str,
        body: bytes,
        artifact_type: str,
        *,
        subject: PushedManifest | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> PushedManifest:
        """Push an artifact of one blob, such as an SBOM. With a `subject` it is a referrer of that.

        `team/app@` pushes it without a tag. Raises `RequestFailed`, and ValueError for a malformed
        name.
        """
        repository, tag = self._parse(name)
        manifest = content.manifest_of(
            self.push_blob(repository, content.EMPTY, content.EMPTY_TYPE),
            [self.push_blob(repository, body, artifact_type)],
            artifact_type=artifact_type,
            subject=descriptor(subject) if subject else None,
            annotations=annotations,
        )
        return self.push_manifest(repository, tag, manifest, content.MANIFEST_TYPE)

    def push_blob(self, repository: str, body: bytes, media_type: str) -> dict[str, Any]:
        """Push a blob and return its descriptor. Raises `RequestFailed`."""
        described = content.descriptor_of(body, media_type)
        headers = {"content-type": "application/octet-stream"}
        path = f"/v2/{repository}/blobs/uploads/?digest={described['digest']}"
        answer = self.request("POST", path, body, headers=headers)
        if answer.status_code == httpx.codes.ACCEPTED:  # an upload was opened, as for some clients
            place = httpx.URL(answer.headers["location"])
            place = place.copy_merge_params({"digest": described["digest"]})
            answer = self.request("PUT", str(place), body, headers=headers)
        self._check(answer)
        return described

    def push_manifest(
        self, repository: str, tag: str, body: bytes, media_type: str
    ) -> PushedManifest:
        """Push a manifest as it is; an empty tag pushes by digest. Raises `RequestFailed`."""
        digest = content.digest_of(body)
        path = f"/v2/{repository}/manifests/{tag or digest}"
        self._check(self.request("PUT", path, body, headers={"content-type": media_type}))
        return PushedManifest(self.host, repository, tag, digest, len(body), media_type)

    # ---- reads -----------------------------------------------------------------------------------
    def tags(self, repository: str) -> list[str]:
        """Return the tags of a repository, in the registry's order. Raises `RequestFailed`."""
        path: str | None = f"/v2/{repository}/tags/list"
        found: list[str] = []
        while path:
            answer = self._check(self.request("GET", path))
            found += answer.json()["tags"] or []
            path = answer.links.get("next", {}).get("url")
        return found

    def manifest(self, name: str) -> dict[str, Any]:
        """Return a manifest by tag or digest: `team/app:v1`, `team/app@sha256:…`, or the
        `reference` of a push.

        Raises `RequestFailed`, and ValueError for a malformed name.
        """
        repository, reference = self._parse(name)
        path = f"/v2/{repository}/manifests/{reference}"
        document: dict[str, Any] = self._check(
            self.request("GET", path, headers={"accept": _ACCEPT})
        ).json()
        return document

    def blob(self, repository: str, digest: str) -> bytes:
        """Return the bytes of a blob. Raises `RequestFailed`."""
        return self._check(self.request("GET", f"/v2/{repository}/blobs/{digest}")).content

    # ---- requests --------------------------------------------------------------------------------
    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        credentials: Credentials | None = None,
    ) -> httpx.Response:
        """Send a request to the distribution API, and return the answer whatever its status.

        `path` begins with `/v2/`. With accounts it signs in with `credentials`, or as the
        administrator.
        """
        who = credentials or self.admin
        auth = (who.name, who.password) if who else None
        return self._client.request(
            method, path, content=body, headers=dict(headers or {}), auth=auth
        )

    def api(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        credentials: Credentials | None = None,
    ) -> Any:
        """Call the management API: `api("POST", "accounts", {…})`. Returns the JSON of its answer.

        Needs accounts. It signs in with `credentials`, or as the administrator. Raises
        `RequestFailed`.
        """
        who = credentials or self.admin
        auth = (who.name, who.password) if who else None
        answer = self._client.request(method, f"/api/v0/{path}", json=body, auth=auth)
        self._check(answer)
        return answer.json() if answer.content else None

    def close(self) -> None:
        """Stop the registry. Raises `ServerFailed` unless it stops cleanly."""
        if self._token_id:
            # A test may have removed the account, or ended the server.
            with contextlib.suppress(RequestFailed, httpx.TransportError):
                self.api("DELETE", f"accounts/admin/tokens/{self._token_id}")
        self._client.close()
        self._process.stop()

    def _find_admin(self) -> Credentials | None:
        """Return the password that a first start shows, else a new token: the data directory keeps
        the password that the account has. Return None if there is no account `admin`.

        Raises `ServerFailed`.
        """
        _, found, rest = self.log().partition(_PASSWORD_MARK)
        if found:
            return Credentials("admin", rest.split()[0])
        name = f"testing {secrets.token_hex(8)}"
        options = ("--days", "1", "--data", str(self.data), "--json")
        made = self._process.run_command("token", "create", "admin", name, *options)
        if made.returncode and "NAME_UNKNOWN" in made.stderr:
            return None
        if made.returncode:
            raise ServerFailed(f"the account admin got no token: {made.stderr}")
        token = json.loads(made.stdout)
        self._token_id = token["id"]
        return Credentials("admin", token["token"])

    def _check(self, answer: httpx.Response) -> httpx.Response:
        if answer.is_success:
            return answer
        sent = answer.request
        status = answer.status_code
        raise RequestFailed(f"{sent.method} {sent.url}: {status} {answer.text}", status=status)

    def _parse(self, name: str) -> tuple[str, str]:
        """Return the repository and the tag or digest of `app`, `app:v1`, `app@sha256:…` or `app@`,
        each also behind the host.

        A name without both means the tag `latest`; `app@` means neither. Raises ValueError.
        """
        name = name.removeprefix(f"{self.host}/")
        repository, at, digest = name.partition("@")
        tag = ""
        if not at:
            repository, _, tag = name.partition(":")
        try:
            path = str(RepositoryName.parse(repository))
            if at:
                return path, str(Digest.parse(digest)) if digest else ""
            return path, str(Tag.parse(tag or "latest"))
        except Invalid as error:
            raise ValueError(error.message) from error


@contextlib.contextmanager
def registry(
    data: Path | None = None,
    *,
    accounts: bool = False,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Registry]:
    """Run a registry on a free port of 127.0.0.1 until the block ends.

    `data` is its data directory, which it keeps; None means a temporary one. Without `accounts`
    each caller may do everything. `settings` are settings by name, such as
    {"registry.delete": "false"}; docs/operations.md lists them. With `server.tls_cert` and
    `server.tls_key` it speaks TLS.

    The registry also ends when this process ends, however it ends. Raises `ServerFailed`.
    """
    chosen = {
        "auth.mode": "managed" if accounts else "none",
        "server.bind": "127.0.0.1:0",
        "server.workers": "1",
        "server.graceful_stop_seconds": "1",
        **(settings or {}),
    }
    with tempfile.TemporaryDirectory(prefix="dtrfast-testing-") as folder:
        place = data or Path(folder) / "data"
        process = ServerProcess(
            ["--data", str(place)], environment_of(chosen), Path(folder) / "registry.log"
        )
        try:
            running = Registry(
                process, place, chosen.get("server.tls_cert", ""), has_accounts=accounts
            )
        except BaseException:
            with contextlib.suppress(ServerFailed):
                process.stop()
            raise
        try:
            yield running
        finally:
            running.close()


def descriptor(pushed: PushedManifest) -> dict[str, Any]:
    """Return the descriptor of a manifest, for an index or as a subject."""
    return {"mediaType": pushed.media_type, "digest": pushed.digest, "size": pushed.size}

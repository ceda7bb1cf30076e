"""Registries behind haproxy and nginx: the registry sees the client, scheme and host of the front.

Clients connect from 127.0.0.2, and only 127.0.0.1 is a trusted proxy.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.e2e import certificates, front, proxy_samples
from tests.e2e import managed as registries
from tests.e2e.certificates import Certificate
from tests.e2e.managed import ManagedRegistry
from tests.e2e.programs import find
from tests.e2e.registry import Registry, free_port

CLIENT = "127.0.0.2"
TRUST = {"DTRFAST_SERVER_TRUSTED_PROXIES": "127.0.0.1"}
REQUIRED = {**TRUST, "DTRFAST_SERVER_PROXY_PROTOCOL": "required"}
_DEADLINE_SECONDS = 10.0
# Headers that a client may forge.
FORGED = {"x-forwarded-for": "198.51.100.1", "x-forwarded-proto": "http"}

_HAPROXY_TCP = """\
listen registry
    mode tcp
    bind 127.0.0.1:{port}
    server one {target} {options}
"""
_NGINX_TCP = """\
server {{
    listen 127.0.0.1:{port};
    proxy_pass {target};
    proxy_protocol on;
}}
"""


class ProxiedRegistry(Registry):
    """A registry that serves proxies only."""

    def _is_ready(self) -> bool:
        return "listening on" in self.log()


@dataclass(frozen=True, slots=True)
class Fronts:
    """Starts proxies for a registry, whose log is `log`."""

    folder: Path
    environment: Mapping[str, str]
    certificate: Certificate

    @contextmanager
    def nginx(self, target: str) -> Iterator[int]:
        """Run nginx with the sample of deploy/."""
        port = free_port()
        text = proxy_samples.nginx(port, free_port(), self.certificate, target)
        with front.nginx(self.folder, self.environment, port, http=text):
            yield port

    @contextmanager
    def haproxy(self, target: str) -> Iterator[int]:
        """Run haproxy with the sample of deploy/."""
        port = free_port()
        text = proxy_samples.haproxy(port, free_port(), self.certificate, target)
        with front.haproxy(self.folder, self.environment, port, text):
            yield port

    @contextmanager
    def haproxy_tcp(self, sections: str, target: str, options: str = "") -> Iterator[int]:
        port = free_port()
        pem = proxy_samples.pem_of(self.certificate)
        text = sections.format(port=port, pem=pem, target=target, options=options)
        with front.haproxy(self.folder, self.environment, port, text):
            yield port

    @contextmanager
    def nginx_tcp(self, target: str) -> Iterator[int]:
        port = free_port()
        text = _NGINX_TCP.format(port=port, target=target)
        with front.nginx(self.folder, self.environment, port, stream=text):
            yield port


@pytest.fixture
def fronts(new_folder: Callable[[str], Path], environment: Mapping[str, str]) -> Fronts:
    folder = new_folder("fronts")
    return Fronts(folder, environment, certificates.make(folder))


@pytest.fixture(scope="module")
def managed(new_folder: Callable[[str], Path]) -> Iterator[ManagedRegistry]:
    with registries.running(new_folder("behind"), tls=None, **TRUST) as server:
        yield server


@pytest.fixture(scope="module")
def announced(new_folder: Callable[[str], Path]) -> Iterator[Registry]:
    """A registry that takes only connections with PROXY headers."""
    registry = ProxiedRegistry(new_folder("announced"), settings=REQUIRED)
    yield registry
    registry.stop()


@pytest.fixture(scope="module")
def secure(new_folder: Callable[[str], Path]) -> Iterator[Registry]:
    """The same, with TLS and HTTP/2 behind the PROXY headers."""
    folder = new_folder("secure")
    settings = {**REQUIRED, "DTRFAST_SERVER_HTTP2": "true"}
    registry = ProxiedRegistry(folder, certificates.make(folder), settings=settings)
    yield registry
    registry.stop()


def ask(
    port: int,
    path: str,
    tls: Certificate | None = None,
    headers: Mapping[str, str] = FORGED,
    *,
    method: str = "GET",
    http2: bool = False,
) -> httpx.Response:
    """Return the answer through a proxy, for a client at 127.0.0.2."""
    verify = ssl.create_default_context(cafile=tls.authority) if tls else True
    transport = httpx.HTTPTransport(local_address=CLIENT, http2=http2, verify=verify)
    with httpx.Client(transport=transport, timeout=20) as client:
        scheme = "https" if tls else "http"
        return client.request(method, f"{scheme}://localhost:{port}{path}", headers=headers)


def remote_of(registry: Registry, path: str) -> str:
    """Return the address in the access log's line for a path that was requested once."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while time.monotonic() < deadline:
        found = re.search(rf'^\S+ (\S+) \S+ "GET" "{path}" ', registry.log(), re.MULTILINE)
        if found:
            return found[1]
        time.sleep(0.02)
    raise AssertionError(f"no line for {path} in {registry.log()}")


# ---- proxies of HTTP ---------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
def test_behind_a_proxy_that_ends_tls_all_is_as_in_front_of_it(
    kind: str,
    managed: ManagedRegistry,
    fronts: Fronts,
    environment: Mapping[str, str],
    tmp_path: Path,
) -> None:
    target = managed.host
    opened = fronts.nginx(target) if kind == "nginx" else fronts.haproxy(target)
    with opened as port:
        here = f"https://localhost:{port}"
        other = {"forwarded": "for=198.51.100.1", "x-forwarded-host": "elsewhere.example"}
        forged = {**FORGED, **other}
        tls = fronts.certificate
        challenge = ask(port, "/v2/", tls, forged)
        assert f'realm="{here}/auth/token"' in challenge.headers["www-authenticate"]
        assert "strict-transport-security" not in challenge.headers
        assert ask(port, f"/v2/{kind}/tags/list", tls, forged).status_code == 401
        assert remote_of(managed.registry, f"/v2/{kind}/tags/list") == CLIENT
        # The hot lane answers this from the index.
        home = tempfile.mkdtemp(prefix="dtrfast-home-")
        skopeo = find("skopeo", {**environment, "HOME": home})
        certs = tmp_path / "certs"
        certs.mkdir()
        (certs / "ca.crt").write_bytes(tls.authority.read_bytes())
        host = f"localhost:{port}"
        password = ("-u", "will", "--password-stdin", f"--cert-dir={certs}")
        skopeo.run("login", *password, host, text=managed.secrets["will"])
        layout = _layout(tmp_path)
        image = f"docker://{host}/acme/app:{kind}"
        skopeo.run("copy", f"--dest-cert-dir={certs}", f"oci:{layout}", image)
        assert "Digest" in skopeo.run("inspect", f"--cert-dir={certs}", image)
        events = managed.api("GET", "admin/events?kind=sign-in&actor=will&limit=5")
        assert "127.0.0.1" in str(events)


def _layout(folder: Path) -> Path:
    """Write a small image in the layout that skopeo reads."""
    layout = folder / "layout"
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(content: bytes) -> dict[str, object]:
        name = hashlib.sha256(content).hexdigest()
        (blobs / name).write_bytes(content)
        return {"digest": f"sha256:{name}", "size": len(content)}

    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
    made = put(json.dumps(config).encode())
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **made},
        "layers": [],
    }
    entry = {"mediaType": manifest["mediaType"], **put(json.dumps(manifest).encode())}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return layout


def test_a_proxy_that_is_not_named_is_told_of_in_the_log(managed: ManagedRegistry) -> None:
    answer = ask(managed.registry.port, "/v2/unnamed/tags/list")
    assert answer.status_code == 401
    assert remote_of(managed.registry, "/v2/unnamed/tags/list") == CLIENT
    hint = "x-forwarded-for from 127.0.0.2 is ignored, which is no trusted proxy"
    assert hint in managed.registry.log()


# ---- proxies of TCP ----------------------------------------------------------------------------
def test_proxy_headers_of_haproxy_and_nginx_name_the_client(
    announced: Registry, fronts: Fronts
) -> None:
    host = announced.host
    options = ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"]
    proxies = [fronts.haproxy_tcp(_HAPROXY_TCP, host, option) for option in options]
    for number, opened in enumerate([*proxies, fronts.nginx_tcp(host)]):
        with opened as port:
            for path in (f"/v2/a{number}/tags/list", f"/v2/a{number}/manifests/hot"):
                assert ask(port, path).status_code == 404
                assert remote_of(announced, path) == CLIENT


def test_health_checks_of_haproxy_are_answered(announced: Registry, fronts: Fronts) -> None:
    for version in ("send-proxy", "send-proxy-v2"):
        options = f"{version} check inter 200ms\n    option httpchk GET /healthz?{version}"
        with fronts.haproxy_tcp(_HAPROXY_TCP, announced.host, options) as port:
            path = f"/v2/{version}/tags/list"
            assert ask(port, path).status_code == 404
            assert remote_of(announced, path) == CLIENT
    assert remote_of(announced, "/healthz") == "127.0.0.1"


def test_a_proxy_of_http_behind_one_of_tcp_is_believed(announced: Registry, fronts: Fronts) -> None:
    """The client of the PROXY header is the peer that may be trusted with X-Forwarded-For."""
    with (
        fronts.haproxy_tcp(_HAPROXY_TCP, announced.host, "send-proxy-v2") as inner,
        fronts.nginx(f"127.0.0.1:{inner}") as port,
    ):
        for path in ("/v2/chain/tags/list", "/v2/chain/manifests/hot"):
            assert ask(port, path, fronts.certificate).status_code == 404
            assert remote_of(announced, path) == CLIENT


def test_connections_without_a_proxy_header_are_closed(announced: Registry) -> None:
    """The log gives the reason."""
    hints = {
        "127.0.0.1": "closed a connection from 127.0.0.1 without a PROXY header",
        CLIENT: "closed a connection from 127.0.0.2, which is no trusted proxy",
    }
    for address, hint in hints.items():
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            _request_without_header(announced, address)
        assert hint in announced.log(), announced.log()
    assert "an unknown address" not in announced.log()


def _request_without_header(registry: Registry, address: str) -> None:
    connection = http.client.HTTPConnection(
        "127.0.0.1", registry.port, timeout=20, source_address=(address, 0)
    )
    with closing(connection):
        connection.request("GET", "/v2/")
        connection.getresponse()


def test_a_proxy_header_tells_of_tls_that_the_proxy_ends(
    announced: Registry, fronts: Fronts
) -> None:
    ends_tls = _HAPROXY_TCP.replace("{port}", "{port} ssl crt {pem}")
    with fronts.haproxy_tcp(ends_tls, announced.host, "send-proxy-v2-ssl") as port:
        answer = ask(port, "/v2/ended/blobs/uploads/", fronts.certificate, method="POST")
    address = answer.headers["docker-upload-location"]
    assert address == f"https://localhost:{port}{answer.headers['location']}"
    assert "strict-transport-security" not in answer.headers


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_a_proxy_header_stands_in_front_of_tls(
    http2: bool, secure: Registry, fronts: Fronts
) -> None:
    version = "HTTP/2" if http2 else "HTTP/1.1"
    with fronts.haproxy_tcp(_HAPROXY_TCP, secure.host, "send-proxy-v2") as port:
        for path in ("tags/list", "manifests/hot"):
            path = f"/v2/{version.lower()}/{path}"
            answer = ask(port, path, secure.tls, http2=http2)
            assert (answer.status_code, answer.http_version) == (404, version)
            assert answer.headers["strict-transport-security"] == "max-age=2592000"
            assert remote_of(secure, path) == CLIENT

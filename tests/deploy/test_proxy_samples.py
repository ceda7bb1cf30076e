"""nginx, Caddy and HAProxy with the settings of deploy/, in front of a registry.

Clients connect from 127.0.0.2, and only 127.0.0.1 is a trusted proxy.
"""

from __future__ import annotations

import hashlib
import re
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from playwright.sync_api import Browser, expect

from dtrfast.config import Config
from tests.e2e import certificates, front, images, managed, proxy_samples
from tests.e2e.certificates import Certificate
from tests.e2e.console import browser as browsers
from tests.e2e.managed import ManagedRegistry
from tests.e2e.programs import PROJECT, Program, find, require_root
from tests.e2e.registry import free_port

pytestmark = pytest.mark.deploy

CLIENT = "127.0.0.2"
LAYER_SIZE = 1 << 30
FORGED = {
    "x-forwarded-for": "198.51.100.1",
    "x-forwarded-proto": "http",
    "x-forwarded-host": "elsewhere.example",
    "x-forwarded-port": "1",
    "forwarded": "for=198.51.100.2;proto=http;host=elsewhere.example",
}
STREAMS = 4
_DEADLINE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running proxy."""

    port: int
    plain_port: int
    tls: Certificate
    # An administrator of its own, because a user may have few live pages.
    admin: str

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    @property
    def url(self) -> str:
        return f"https://{self.host}"

    def client(self, *, http2: bool = False) -> httpx.Client:
        """Return a client at 127.0.0.2."""
        verify = ssl.create_default_context(cafile=self.tls.authority)
        transport = httpx.HTTPTransport(local_address=CLIENT, http2=http2, verify=verify)
        return httpx.Client(transport=transport, base_url=self.url, timeout=120)


@contextmanager
def caddy(folder: Path, environment: Mapping[str, str], port: int, text: str) -> Iterator[None]:
    """Run Caddy with this Caddyfile, which listens on `port`."""
    file = folder / "Caddyfile"
    file.write_text(text)
    program = find("caddy", environment)
    program.run("validate", "--adapter", "caddyfile", "--config", file)
    running = program.called_with("run", "--adapter", "caddyfile", "--config", str(file))
    with running.serving(folder / "caddy.log", lambda: front.connect(port)):
        yield


@pytest.fixture(scope="module")
def registry(new_folder: Callable[[str], Path]) -> Iterator[ManagedRegistry]:
    trust = {"DTRFAST_SERVER_TRUSTED_PROXIES": "127.0.0.1"}
    with managed.running(new_folder("behind"), tls=None, **trust) as server:
        yield server


@pytest.fixture(scope="module", params=["nginx", "caddy", "haproxy"])
def proxy(
    request: pytest.FixtureRequest,
    registry: ManagedRegistry,
    new_folder: Callable[[str], Path],
    environment: Mapping[str, str],
) -> Iterator[Proxy]:
    folder = new_folder(request.param)
    admin = f"admin-{request.param}"
    if admin not in registry.secrets:  # pytest sets a parameter up again for a later test
        registry.secrets[admin] = "correct horse battery"
        account = {"name": admin, "password": registry.secrets[admin], "isAdmin": True}
        registry.api("POST", "accounts", account)
    made = Proxy(free_port(), free_port(), certificates.make(folder), admin)
    addresses = (made.port, made.plain_port, made.tls, registry.host)
    opened: AbstractContextManager[None]
    if request.param == "nginx":
        text = proxy_samples.nginx(*addresses)
        opened = front.nginx(folder, environment, made.port, http=text)
    elif request.param == "haproxy":
        opened = front.haproxy(folder, environment, made.port, proxy_samples.haproxy(*addresses))
    else:
        opened = caddy(folder, environment, made.port, proxy_samples.caddy(*addresses))
    with opened:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.chromium() as browser:
        yield browser


# ---- facts about the client ----------------------------------------------------------------------
def test_the_registry_knows_client_scheme_and_host(proxy: Proxy, registry: ManagedRegistry) -> None:
    with proxy.client(http2=True) as client:
        challenge = client.get("/v2/", headers=FORGED)
        assert challenge.http_version == "HTTP/2"
        assert f'realm="{proxy.url}/auth/token"' in challenge.headers["www-authenticate"]
        # The registry leaves this rule to the proxy, and the samples leave it to the user.
        assert "strict-transport-security" not in challenge.headers
        wrong = client.get("/auth/token", auth=("nora", "wrong"), headers=FORGED)
        assert wrong.status_code == 401
        form = {"username": "nora", "password": registry.secrets["nora"]}
        origin = {"origin": proxy.url}
        signed_in = client.post("/api/v0/sessions", json=form, headers={**FORGED, **origin})
        assert signed_in.status_code == 201, signed_in.text
        assert "__Host-" in signed_in.headers["set-cookie"]
        [session] = client.get("/api/v0/accounts/nora/sessions").json()["sessions"]
        assert session["remote"] == CLIENT
        token = signed_in.json()["csrfToken"]
        headers = {**origin, "x-csrf-token": token}
        assert client.delete("/api/v0/sessions/current", headers=headers).status_code == 204
    _wait_for_event(registry, "sign-in", "nora")


def _wait_for_event(registry: ManagedRegistry, kind: str, actor: str) -> None:
    """Wait until the audit log has an event of this user, and check the addresses in all."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while time.monotonic() < deadline:
        answer = registry.api("GET", f"admin/events?kind={kind}&actor={actor}&limit=50")
        if events := answer["events"]:
            assert {event["remote"] for event in events} == {CLIENT}, events
            return
        time.sleep(0.05)
    raise AssertionError(f"no event {kind} of {actor}")


@pytest.mark.parametrize("proxy", ["haproxy"], indirect=True)
def test_haproxy_reads_no_request_as_root(proxy: Proxy) -> None:
    require_root("haproxy changes its user")
    readers = {
        one.pid
        for one in psutil.net_connections("tcp")
        if one.laddr and one.laddr.port == proxy.port and one.status == psutil.CONN_LISTEN
    }
    assert {psutil.Process(pid).username() for pid in readers} == {"haproxy"}


def test_plain_http_leads_to_tls(proxy: Proxy) -> None:
    answer = httpx.get(f"http://localhost:{proxy.plain_port}/repositories?filter=a%2Fb")
    assert answer.status_code == 308
    assert re.fullmatch(
        r"https://localhost(:\d+)?/repositories\?filter=a%2Fb", answer.headers["location"]
    )


# ---- bodies and heads ----------------------------------------------------------------------------
def test_uploads_resume_and_parts_come_back(proxy: Proxy, registry: ManagedRegistry) -> None:
    content = images.noise(3 << 20, seed=proxy.port)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    token = registry.token("will", "repository:acme/app:pull,push")
    with proxy.client(http2=True) as client:
        client.headers["authorization"] = f"Bearer {token}"
        begun = client.post("/v2/acme/app/blobs/uploads/")
        assert begun.headers["docker-upload-location"].startswith(f"{proxy.url}/v2/acme/app/")
        half = len(content) // 2
        sent = client.patch(
            begun.headers["location"],
            content=content[:half],
            headers={"content-range": f"0-{half - 1}"},
        )
        assert sent.status_code == 202, sent.text
        place = client.get(sent.headers["location"])
        assert (place.status_code, place.headers["range"]) == (204, f"0-{half - 1}")
        # The rest comes in pieces without a length.
        rest = (content[at : at + 65_536] for at in range(half, len(content), 65_536))
        sent = client.patch(place.headers["location"], content=rest)
        assert sent.status_code == 202, sent.text
        done = client.put(sent.headers["location"], params={"digest": digest})
        assert done.status_code == 201, done.text
        blob = f"/v2/acme/app/blobs/{digest}"
        head = client.head(blob)
        assert head.headers["content-length"] == str(len(content))
        assert head.headers["docker-content-digest"] == digest
        part = client.get(blob, headers={"range": f"bytes={half}-{half + 99}"})
        assert (part.status_code, part.content) == (206, content[half : half + 100])
        assert part.headers["content-range"] == f"bytes {half}-{half + 99}/{len(content)}"
        tail = client.get(blob, headers={"range": "bytes=-7"})
        assert (tail.status_code, tail.content) == (206, content[-7:])
        whole = client.get(blob, headers={"accept-encoding": "gzip"})
        assert whole.content == content
        assert "content-encoding" not in whole.headers
        assert whole.headers["content-length"] == str(len(content))


class Cut(Exception):
    """The end of a client in the middle of a body."""


def test_an_upload_that_is_cut_keeps_its_bytes(proxy: Proxy, registry: ManagedRegistry) -> None:
    """A proxy that collects whole bodies first would pass on nothing of it."""

    def body() -> Iterator[bytes]:
        for seed in range(48):
            yield images.noise(1 << 16, seed=seed)
        raise Cut

    token = registry.token("will", "repository:acme/app:pull,push")
    with proxy.client() as client:
        client.headers["authorization"] = f"Bearer {token}"
        location = client.post("/v2/acme/app/blobs/uploads/").headers["location"]
        with pytest.raises(Cut):
            client.patch(location, content=body())
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while (place := client.get(location)).headers.get("range", "0-0") == "0-0":
            assert time.monotonic() < deadline, place.headers
            time.sleep(0.05)
        assert int(place.headers["range"].removeprefix("0-")) >= 1 << 20


def test_large_heads_and_escaped_slashes_reach_the_registry(
    proxy: Proxy, registry: ManagedRegistry
) -> None:
    for http2 in (False, True):
        with proxy.client(http2=http2) as client:
            long = client.get("/v2/", headers={"authorization": f"Bearer {'t' * 60_000}"})
            assert long.status_code == 401, long.text
            assert long.json()["errors"][0]["code"] == "UNAUTHORIZED"
            missing = client.get("/api/v0/repositories/acme/no%2Fsuch", auth=_admin(registry))
            assert missing.status_code == 404
            assert "no/such" in missing.text


def _admin(registry: ManagedRegistry) -> tuple[str, str]:
    return "admin", registry.secrets["admin"]


# ---- the console ---------------------------------------------------------------------------------
def test_an_event_comes_at_once(proxy: Proxy, registry: ManagedRegistry) -> None:
    with proxy.client(http2=True) as client:
        form = {"username": proxy.admin, "password": registry.secrets[proxy.admin]}
        headers = {"origin": proxy.url}
        assert client.post("/api/v0/sessions", json=form, headers=headers).status_code == 201
        name = f"prompt-{proxy.port}"
        with client.stream("GET", f"/live/logs?text={name}") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            pieces = stream.iter_text()
            assert "retry" in next(pieces)
            began = time.monotonic()
            httpx.get(f"{registry.registry.url}/v2/acme/{name}/tags/list")
            text = ""
            while name not in text:
                text += next(pieces)
            # The stream looks for lines once a second.
            assert time.monotonic() - began < 8


_OPEN = """async (count) => {
  window.streams = [...Array(count)].map(() => new AbortController());
  const opened = window.streams.map(({ signal }) => fetch("/live/logs?text=none", { signal }));
  return (await Promise.all(opened)).map(({ status }) => status);
}"""
_LEAVE = "window.streams.forEach((stream) => stream.abort())"


def test_a_browser_sees_lines_as_they_are_written_and_ends_what_it_leaves(
    browser: Browser, proxy: Proxy, registry: ManagedRegistry
) -> None:
    context = browser.new_context(ignore_https_errors=True)
    visitor = browsers.Person(context.new_page(), proxy.url)
    visitor.sign_in(proxy.admin, registry.secrets[proxy.admin])
    name = f"through-{proxy.port}"
    visitor.go(f"/logs?text={name}")
    expect(visitor.page.locator("[data-live-state]")).to_have_text("live")
    httpx.get(f"{registry.registry.url}/v2/acme/{name}/tags/list")
    expect(visitor.page.locator("#lines")).to_contain_text(name, timeout=10_000)
    assert visitor.page.evaluate(_OPEN, STREAMS) == [200] * STREAMS
    held = _connections_to(registry)
    visitor.page.evaluate(_LEAVE)
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while (left := _connections_to(registry)) > held - STREAMS:
        assert time.monotonic() < deadline, f"{held} connections, {left} without their clients"
        visitor.page.wait_for_timeout(50)
    context.close()
    assert not visitor.errors, visitor.errors


def _connections_to(registry: ManagedRegistry) -> int:
    """Return the number of connections of proxies and other clients to the registry."""
    return sum(
        one.status == psutil.CONN_ESTABLISHED and one.raddr.port == registry.registry.port
        for one in psutil.net_connections("tcp4")
        if one.raddr
    )


# ---- Traefik, which no test runs -----------------------------------------------------------------
def test_the_sample_of_traefik_has_what_the_manual_asks_for() -> None:
    """Traefik itself cannot be compiled here: the Go proxy refuses some modules that it needs."""
    yaml = pytest.importorskip("yaml")
    folder = PROJECT / "deploy" / "traefik"
    static = yaml.safe_load((folder / "traefik.yml").read_text())
    secure = static["entryPoints"]["websecure"]
    assert secure["transport"]["respondingTimeouts"] == {"readTimeout": "0s"}
    assert "forwardedHeaders" not in secure
    assert static["providers"]["file"]["filename"] == "/etc/traefik/dynamic.yml"
    assert static["entryPoints"]["web"]["http"]["redirections"]["entryPoint"]["to"] == "websecure"
    dynamic = yaml.safe_load((folder / "dynamic.yml").read_text())
    http = dynamic["http"]
    [router] = http["routers"].values()
    assert router["entryPoints"] == ["websecure"]
    [middleware] = router["middlewares"]
    headers = http["middlewares"][middleware]["headers"]
    assert headers == {"customRequestHeaders": {"Forwarded": ""}}
    balancer = http["services"][router["service"]]["loadBalancer"]
    assert balancer["servers"] == [{"url": "http://127.0.0.1:5000"}]
    timeouts = http["serversTransports"][balancer["serversTransport"]]["forwardingTimeouts"]
    assert timeouts == {"idleConnTimeout": "60s", "responseHeaderTimeout": "900s"}
    assert int(timeouts["idleConnTimeout"].rstrip("s")) < Config().server.keep_alive_seconds


# ---- docker --------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Transfers:
    """Pushes and pulls of an image with one layer of random bytes, between two daemons."""

    daemons: tuple[Program, Program]
    image: str
    registry: ManagedRegistry

    def measure(self, host: str, name: str) -> tuple[float, float]:
        """Return the seconds of a push and of a pull by this host, which must give the image.

        Each one has a new repository, because docker sends no layer that the repository has.
        """
        docker, other = self.daemons
        self.registry.api("POST", "repositories/acme", {"name": name}, "owen")
        for daemon in self.daemons:
            password = self.registry.secrets["owen"]
            daemon.run("login", host, "-u", "owen", "--password-stdin", text=password)
        target = f"{host}/acme/{name}:1"
        docker.run("tag", self.image, target)
        began = time.monotonic()
        assert ": Pushed" in docker.run("push", target, seconds=1200)
        pushed = time.monotonic()
        other.run("pull", target, seconds=1200)
        pulled = time.monotonic()
        inspect = ("inspect", "--format={{.Id}}", target)
        assert docker.run(*inspect) == other.run(*inspect)
        other.run("rmi", target)
        return pushed - began, pulled - pushed


@pytest.fixture(scope="module")
def transfers(
    docker_daemons: tuple[Program, Program],
    registry: ManagedRegistry,
    new_folder: Callable[[str], Path],
) -> Transfers:
    folder = new_folder("large")
    with (folder / "random").open("wb") as file:
        subprocess.run(["head", "-c", str(LAYER_SIZE), "/dev/urandom"], check=True, stdout=file)
    subprocess.run(["tar", "-C", folder, "-cf", folder / "layer.tar", "random"], check=True)
    docker_daemons[0].run("import", folder / "layer.tar", "large:1", seconds=600)
    for name in ("random", "layer.tar"):
        (folder / name).unlink()
    return Transfers(docker_daemons, "large:1", registry)


@pytest.fixture(scope="module")
def direct_seconds(transfers: Transfers, registry: ManagedRegistry) -> tuple[float, float]:
    """The seconds of a push and a pull without a proxy.

    The first push stores the bytes. The second one only sends them, as those through proxies do.
    """
    transfers.measure(registry.host, "cold")
    return transfers.measure(registry.host.replace("127.0.0.1", "localhost"), "warm")


@pytest.mark.parametrize("proxy", ["nginx", "caddy"], indirect=True)
def test_docker_moves_a_gibibyte(
    proxy: Proxy,
    transfers: Transfers,
    direct_seconds: tuple[float, float],
    record_property: Callable[[str, object], None],
) -> None:
    through = transfers.measure(proxy.host, f"p{proxy.port}")
    text = "{}: push {:.0f} s, pull {:.0f} s"
    record_property("summary", text.format("direct", *direct_seconds))
    record_property("summary", text.format("through the proxy", *through))
    for seconds, direct in zip(through, direct_seconds, strict=True):
        assert seconds < 4 * direct + 60

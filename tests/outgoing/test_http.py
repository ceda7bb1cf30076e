"""Calls over HTTP to real servers: the addresses of connections, and the limits of a call."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dtrfast.config import OutgoingConfig
from dtrfast.errors import AddressRefused, CallFailed
from dtrfast.outgoing.http import OutgoingCall, ask
from dtrfast.outgoing.permit import DIRECT, CallLimits, OutgoingPolicy, Setter
from tests.e2e import certificates
from tests.outgoing.servers import WebServer, proxy_server, raw_server, web_server

_LOCAL = OutgoingConfig(allow=("127.0.0.1",))
_QUICK = OutgoingCall(limits=CallLimits(step_seconds=0.3, total_seconds=0.6, size_max=1000))


class Resolver:
    """The host names of a test. Each look-up gets the next answer, as with DNS rebinding."""

    def __init__(self, **names: list[str]) -> None:
        self.names = names
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answers = self.names.get(host.partition(".")[0], [host])
        return [answers.pop(0) if len(answers) > 1 else answers[0]]


@pytest.fixture(scope="module")
def shared() -> Iterator[WebServer]:
    with web_server() as web:
        yield web


@pytest.fixture
def web(shared: WebServer) -> WebServer:
    shared.answers.clear()
    shared.requests.clear()
    shared.bodies.clear()
    shared.drips = False
    return shared


# ---- where it goes -----------------------------------------------------------------------------
def test_the_checked_address_is_called_and_the_name_is_in_the_request(web: WebServer) -> None:
    resolver = Resolver(hook=["127.0.0.1", "10.0.0.1"])
    call = OutgoingCall("POST", {"x-event": "push"}, b"{}")
    reply = ask(
        OutgoingPolicy(_LOCAL, resolver), f"http://hook.example:{web.port}/a?b", Setter.OWNER, call
    )
    assert (reply.status, reply.content, resolver.asked) == (200, b"here", ["hook.example"])
    (method, path, headers) = web.requests[0]
    assert (method, path, headers["host"]) == ("POST", "/a?b", f"hook.example:{web.port}")
    assert (headers["x-event"], web.bodies) == ("push", [b"{}"])


def test_a_private_server_is_not_even_connected_to(web: WebServer) -> None:
    outgoing = OutgoingPolicy(OutgoingConfig(), Resolver(hook=["127.0.0.1"]))
    with pytest.raises(AddressRefused):
        ask(outgoing, f"http://hook.example:{web.port}/", Setter.OWNER, OutgoingCall())
    assert web.requests == []


def test_certificates_are_those_of_the_name(tmp_path: Path) -> None:
    made = certificates.make(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.chain, made.key)
    trusting = ssl.create_default_context(cafile=made.authority)
    outgoing = OutgoingPolicy(_LOCAL, Resolver(localhost=["127.0.0.1"], hook=["127.0.0.1"]))
    with web_server(context) as web:
        call = OutgoingCall(context=trusting)
        assert ask(outgoing, f"https://localhost:{web.port}/", Setter.OWNER, call).status == 200
        assert web.names == ["localhost"]
        for url, one in (
            (f"https://hook.example:{web.port}/", call),  # the certificate of another name
            (f"https://localhost:{web.port}/", OutgoingCall()),  # the authority is unknown
        ):
            with pytest.raises(CallFailed, match="certificate verify failed"):
                ask(outgoing, url, Setter.OWNER, one)
    assert len(web.requests) == 1


def test_the_environment_names_no_proxy(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    url = f"http://127.0.0.1:{web.port}/"
    assert ask(DIRECT, url, Setter.ADMINISTRATOR, OutgoingCall()).status == 200


# ---- redirects ---------------------------------------------------------------------------------
def _moved(web: WebServer, path: str, location: str, status: int = 302) -> None:
    web.answers[path] = (status, {"location": location}, b"")


def test_a_redirect_is_an_answer_unless_it_is_asked_for(web: WebServer) -> None:
    _moved(web, "/a", "/b")
    outgoing = OutgoingPolicy(_LOCAL, Resolver(hook=["127.0.0.1"]))
    url = f"http://hook.example:{web.port}/a"
    assert ask(outgoing, url, Setter.OWNER, OutgoingCall()).status == 302
    assert ask(outgoing, url, Setter.OWNER, OutgoingCall("POST", follows=True)).status == 302
    assert ask(outgoing, url, Setter.OWNER, OutgoingCall(follows=True)).status == 200
    assert [path for _, path, _ in web.requests] == ["/a", "/a", "/a", "/b"]


@pytest.mark.parametrize(
    "location",
    [
        "http://inside.example/",
        "//inside.example/",
        "http://169.254.169.254/latest",
        "http://10.0.0.1/",
        "file:///etc/passwd",
        "http://x:y@hook.example/",
        "http://[::1",
    ],
)
def test_a_redirect_is_checked_as_the_first_address_was(web: WebServer, location: str) -> None:
    _moved(web, "/a", location)
    outgoing = OutgoingPolicy(_LOCAL, Resolver(hook=["127.0.0.1"], inside=["10.0.0.1"]))
    with pytest.raises(AddressRefused):
        ask(outgoing, f"http://hook.example:{web.port}/a", Setter.OWNER, OutgoingCall(follows=True))


def test_a_name_that_moves_between_two_steps_is_refused(web: WebServer) -> None:
    _moved(web, "/a", "/b")
    outgoing = OutgoingPolicy(_LOCAL, Resolver(hook=["127.0.0.1", "192.168.0.1"]))
    with pytest.raises(AddressRefused):
        ask(outgoing, f"http://hook.example:{web.port}/a", Setter.OWNER, OutgoingCall(follows=True))


def test_secrets_stay_with_their_origin(web: WebServer) -> None:
    _moved(web, "/a", f"http://other.example:{web.port}/b")
    outgoing = OutgoingPolicy(_LOCAL, Resolver(hook=["127.0.0.1"], other=["127.0.0.1"]))
    call = OutgoingCall(headers={"Authorization": "Bearer x", "x-other": "y"}, follows=True)
    ask(outgoing, f"http://hook.example:{web.port}/a", Setter.OWNER, call)
    first, second = (headers for _, _, headers in web.requests)
    assert first["authorization"] == "Bearer x"
    assert "authorization" not in second
    assert second["x-other"] == "y"
    assert second["host"] == f"other.example:{web.port}"


def test_a_circle_of_redirects_ends(web: WebServer) -> None:
    _moved(web, "/a", "/a")
    outgoing = OutgoingPolicy(_LOCAL, Resolver(hook=["127.0.0.1"]))
    with pytest.raises(CallFailed):
        ask(outgoing, f"http://hook.example:{web.port}/a", Setter.OWNER, OutgoingCall(follows=True))
    assert len(web.requests) == 6


# ---- bounds ------------------------------------------------------------------------------------
def test_too_long_a_body_is_cut(web: WebServer) -> None:
    web.answers["/"] = (200, {}, b"x" * 1001)
    with pytest.raises(CallFailed, match="more than 1000 bytes"):
        ask(DIRECT, f"http://127.0.0.1:{web.port}/", Setter.ADMINISTRATOR, _QUICK)


@pytest.mark.long
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100,
        b"\x16\x03",
    ],
    ids=["silent", "a slow head", "a slow body", "not HTTP"],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_cannot_hold_a_call(answer: bytes, scheme: str) -> None:
    began = time.monotonic()
    with raw_server(answer, 0.05) as raw, pytest.raises(CallFailed):
        ask(DIRECT, f"{scheme}://127.0.0.1:{raw.port}/", Setter.ADMINISTRATOR, _QUICK)
    assert time.monotonic() - began < 3.0


# ---- the proxy ---------------------------------------------------------------------------------
def _through(port: int, resolver: Resolver | None = None) -> OutgoingPolicy:
    config = OutgoingConfig(proxy=f"http://127.0.0.1:{port}", allow=("10.0.0.7",))
    return OutgoingPolicy(config, resolver or Resolver())


def test_the_proxy_gets_the_name_of_an_administrator_and_the_checked_address_of_an_owner(
    web: WebServer,
) -> None:
    with proxy_server() as proxy:
        outgoing = _through(proxy.port, Resolver(hook=["10.0.0.7"]))
        for setter in Setter:
            url = f"http://hook.example:{web.port}/"
            assert ask(outgoing, url, setter, OutgoingCall()).content == b"here"
    first, second = (head.split(b"\r\n")[0] for head in proxy.asked)
    assert first == b"CONNECT hook.example:%d HTTP/1.1" % web.port
    assert second == b"CONNECT 10.0.0.7:%d HTTP/1.1" % web.port
    assert set(web.hosts) == {f"hook.example:{web.port}"}


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
        b"x" * 20_000,
    ],
    ids=["a refusal", "more than a head", "another protocol", "no end"],
)
def test_what_a_proxy_says_wrong_is_told(answer: bytes) -> None:
    with raw_server(answer) as raw, pytest.raises(CallFailed, match=r"outgoing\.proxy"):
        ask(_through(raw.port), "https://issuer.example/", Setter.ADMINISTRATOR, _QUICK)

"""Proofs of the settings of the server's connections, and of the log."""

from __future__ import annotations

import asyncio
import io
import logging
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config as HypercornConfig

from dtrfast.config import Config, LogConfig, ServerConfig, StoreConfig
from dtrfast.errors import ConfigInvalid
from dtrfast.identity.events import Event
from dtrfast.jobs.log import configure
from dtrfast.server import listener, tls
from dtrfast.server.door.doorman import Doorman
from tests.api.managed.town import in_memory
from tests.e2e import certificates
from tests.server.conftest import Server, eventually, read_to_end, running
from tests.settings.application import open_application
from tests.settings.proof import Bench, proves

_SOON_SECONDS = 0.2
_PID = b"GET /pid HTTP/1.1\r\nhost: x\r\n\r\n"


# ---- addresses and names -----------------------------------------------------------------------
@proves("server.bind", ("127.0.0.1:0", "127.0.0.1"), ("127.0.0.2:0", "127.0.0.2"))
def listens(bench: Bench, value: object) -> object:
    (one,) = listener.listen(ServerConfig(bind=str(value)), 1)
    bench.stack.callback(one.close)
    return one.getsockname()[0]


@proves(
    "server.external_url",
    ("", 'realm="http://registry/auth/token"'),
    ("https://registry.example", 'realm="https://registry.example/auth/token"'),
)
def sends_clients(bench: Bench, value: object) -> object:
    config = Config(server=ServerConfig(external_url=str(value)))
    town = bench.stack.enter_context(in_memory(config=config))
    challenge = town.client.get("/v2/").headers["www-authenticate"]
    return next(part for part in challenge.split(" ", 1)[1].split(",") if "realm" in part)


# ---- TLS ---------------------------------------------------------------------------------------
def _pair(bench: Bench, name: str = "pair") -> certificates.Certificate:
    folder = bench.folder / name
    folder.mkdir(exist_ok=True)
    return certificates.make(folder)


def _secure(pair: certificates.Certificate, **fields: object) -> ServerConfig:
    given = {"tls_cert": str(pair.chain), "tls_key": str(pair.key), **fields}
    return ServerConfig(**given)  # type: ignore[arg-type]


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Return the client's side of a connection without a network. Raises SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    ours = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    for side in (ours, theirs, ours, theirs, ours):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return ours


def _client(*protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


@proves("server.tls_cert", ("", False), ("given", True))
def shows_a_certificate(bench: Bench, value: object) -> object:
    context = tls.make_context(_secure(_pair(bench)) if value else ServerConfig())
    return context is not None and bool(_handshake(context, _client()).getpeercert(True))


@proves("server.tls_key", ("its own", "used"), ("another", "refused"))
def uses_a_key(bench: Bench, value: object) -> object:
    pair = _pair(bench)
    key = pair.key if value == "its own" else _pair(bench, "other").key
    try:
        tls.make_context(_secure(pair, tls_key=str(key)))
    except ConfigInvalid:
        return "refused"
    return "used"


@proves("server.tls", ("auto", True), ("off", False))
def makes_a_certificate(bench: Bench, value: object) -> object:
    """The address is one that other hosts can reach, and no certificate is given."""
    server = ServerConfig(bind="0.0.0.0:0", tls=value)  # type: ignore[arg-type]
    config = Config(server=server, store=StoreConfig(data=bench.folder))
    return bool(tls.resolve(config, is_public=True).server.tls_cert)


@proves("server.tls_client_ca", (False, "answered"), (True, "refused"))
def asks_clients_for_certificates(bench: Bench, value: object) -> object:
    pair = _pair(bench)
    authority = str(pair.authority) if value else ""
    context = tls.make_context(_secure(pair, tls_client_ca=authority))
    assert context is not None
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # later versions refuse after the handshake
    try:
        _handshake(context, _client())
    except ssl.SSLError:
        return "refused"
    return "answered"


@proves("server.http2", (False, "http/1.1"), (True, "h2"))
def offers_http2(bench: Bench, value: object) -> object:
    context = tls.make_context(_secure(_pair(bench), http2=value))
    assert context is not None
    return _handshake(context, _client("h2", "http/1.1")).selected_alpn_protocol()


@proves("server.hsts_seconds", (0, b"max-age=0"), (60, b"max-age=60"))
def binds_browsers_to_https(bench: Bench, value: object) -> object:
    return tls.Contexts(_secure(_pair(bench), hsts_seconds=value)).hsts()


# ---- proxies -----------------------------------------------------------------------------------
def _announced(bench: Bench, **fields: object) -> object:
    """Return the status for a client behind a PROXY line; empty if the connection was closed."""
    with _started(bench, **fields).connect() as connection:
        connection.sendall(b"PROXY TCP4 203.0.113.9 192.0.2.1 1234 5000\r\n" + _PID)
        try:
            return connection.recv(1000)[9:12]
        except ConnectionResetError:
            return b""


@proves("server.proxy_protocol", ("off", b"400"), ("required", b"200"))
def takes_announced_connections(bench: Bench, value: object) -> object:
    return _announced(bench, proxy_protocol=value)


@proves("server.trusted_proxies", (("127.0.0.0/8",), b"200"), (("10.0.0.0/8",), b""))
def believes_proxies(bench: Bench, value: object) -> object:
    return _announced(bench, proxy_protocol="required", trusted_proxies=value)


# ---- processes, threads and connections --------------------------------------------------------
def _patience_seconds(value: object) -> float:
    """Return the time to wait for the end of a connection. One second shows that it stays open."""
    return 20.0 if value == _SOON_SECONDS else 1.0


def _started(bench: Bench, **fields: object) -> Server:
    return bench.stack.enter_context(running(bench.folder / "data", **fields))


@proves("server.workers", (1, 1), (2, 2))
def starts_workers(bench: Bench, value: object) -> object:
    return len(_started(bench, workers=value).workers())


@proves("server.threads_per_worker", (1, 1), (3, 3))
def has_threads(bench: Bench, value: object) -> object:
    """Return the number of calls, of three, that run at the same time."""
    server = ServerConfig(threads_per_worker=value)  # type: ignore[arg-type]
    application = open_application(bench, Config(server=server))
    present, most, changed = set[int](), [0], threading.Condition()

    def call(number: int) -> None:
        with changed:
            present.add(number)
            most[0] = max(most[0], len(present))
            changed.notify_all()
            # A quarter of a second shows that no other call comes. An expected one may be late.
            changed.wait_for(lambda: most[0] == 3, timeout=0.25 if value == 1 else 20)
            present.discard(number)

    async def all_three() -> None:
        context = application.served.context
        assert context is not None
        await asyncio.gather(*(context.hop.run(call, number) for number in range(3)))

    application.runner.run(all_three())
    return most[0]


@proves("server.keep_alive_seconds", (_SOON_SECONDS, True), (60.0, False))
def closes_idle_connections(bench: Bench, value: object) -> object:
    server = _started(bench, keep_alive_seconds=value)
    with server.connect() as connection:
        connection.sendall(_PID)
        connection.settimeout(_patience_seconds(value))
        try:
            return read_to_end(connection) != b""
        except TimeoutError:
            return False


@proves("server.idle_body_seconds", (_SOON_SECONDS, True), (60.0, False))
def cuts_bodies(bench: Bench, value: object) -> object:
    server = _started(bench, idle_body_seconds=value)
    with server.connect() as connection:
        connection.sendall(b"PUT /count HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nx")
        connection.settimeout(_patience_seconds(value))
        try:
            return connection.recv(1000) == b""
        except TimeoutError:
            return False


@proves("server.head_size_max", (8192, b"431"), (131_072, b"200"))
def bounds_heads(bench: Bench, value: object) -> object:
    server = _started(bench, head_size_max=value)
    with server.connect() as connection:
        connection.sendall(_PID[:-2] + b"x: " + b"a" * 20_000 + b"\r\n\r\n")
        return connection.recv(1000).split(b" ")[1]


@proves("server.connections_max", (1, b"503"), (10, b"200"))
def bounds_connections(bench: Bench, value: object) -> object:
    server = _started(bench, connections_max=value)
    with server.connect() as first, server.connect() as second:
        first.sendall(_PID)
        assert first.recv(1000)
        second.sendall(_PID)
        return second.recv(1000).split(b" ")[1]


@proves("server.graceful_stop_seconds", (0.0, False), (30.0, True))
def finishes_transfers(bench: Bench, value: object) -> object:
    server = _started(bench, graceful_stop_seconds=value)
    with server.connect() as connection:
        connection.sendall(b"PUT /count HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nx")
        eventually(lambda: "began" in server.notes())
        server.process.terminate()
        time.sleep(0.5)
        try:
            connection.sendall(b"x")
            return b"200" in connection.recv(1000)
        except OSError:
            return False


@proves("server.lanes", (True, True), (False, False))
def answers_from_the_index(bench: Bench, value: object) -> object:
    """Return True if connections have the lane that answers without the application."""
    application = open_application(bench, Config())
    doorman = Doorman(application.served, ServerConfig(lanes=bool(value)), lambda: None)

    async def has_hot() -> bool:
        loop, worker = asyncio.get_running_loop(), WorkerContext(None)
        context = doorman._open(None, loop, HypercornConfig(), worker)  # type: ignore[arg-type]
        await worker.terminated.set()
        await doorman._closing  # type: ignore[misc]
        return context.hot is not None

    return application.runner.run(has_hot())


# ---- the log -----------------------------------------------------------------------------------
@contextmanager
def _logging(bench: Bench, config: LogConfig) -> Iterator[io.StringIO]:
    """Yield standard error under these settings of the log, and restore the log afterwards."""
    root, written = logging.getLogger(), io.StringIO()
    before = (root.handlers[:], root.level)
    with bench.patch.context() as patch:
        patch.setattr(sys, "stderr", written)
        patch.setattr(root, "handlers", [])
        configure(config, "worker-0")
        yield written
    root.handlers, level = before
    root.setLevel(level)


@proves("log.level", ("info", True), ("warning", False))
def writes_messages(bench: Bench, value: object) -> object:
    with _logging(bench, LogConfig(level=value)) as written:  # type: ignore[arg-type]
        logging.getLogger("dtrfast.settings").info("told")
    return "told" in written.getvalue()


@proves("log.format", ("text", False), ("json", True))
def writes_objects(bench: Bench, value: object) -> object:
    with _logging(bench, LogConfig(format=value)) as written:  # type: ignore[arg-type]
        logging.getLogger("dtrfast.settings").warning("told")
    return written.getvalue().startswith("{")


@proves("log.access", (True, True), (False, False))
def writes_requests(bench: Bench, value: object) -> object:
    captured = bench.fixture("capfd")
    assert isinstance(captured, pytest.CaptureFixture)
    with ExitStack() as stack:
        config = Config(log=LogConfig(access=bool(value)))
        open_application(replace(bench, stack=stack), config).get("/v2/")
    return '"GET" "/v2/"' in captured.readouterr().out


@proves("log.audit_size_max", (1 << 20, True), (1 << 23, False))
def bounds_events(bench: Bench, value: object) -> object:
    """Return True if 2 MB of events take 1 MiB at most."""
    with ExitStack() as stack:
        config = Config(log=LogConfig(audit_size_max=value))  # type: ignore[arg-type]
        context = open_application(replace(bench, stack=stack), config).served.context
        assert context is not None
        assert context.identity is not None
        for number in range(5000):
            event = Event(1000.0 + number, "push", "an actor", "", "ok", f"{number}" + "x" * 400)
            context.identity.events.add(event)
    files = (bench.folder / "data" / "audit").iterdir()
    return sum(one.stat().st_size for one in files) <= 1 << 20


@proves("server.cors_origins", (("https://ui.example",), "https://ui.example"), ((), None))
def lets_other_origins_ask(bench: Bench, value: object) -> object:
    config = Config(server=ServerConfig(cors_origins=value))  # type: ignore[arg-type]
    answer = open_application(bench, config).get("/v2/", origin="https://ui.example")
    return answer.headers.get("access-control-allow-origin")

"""TLS: versions and ciphers, connections that are cut, and blobs that arrive whole."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import load
from benchmarks.load import Body, Framing, Job, Push, Request
from dtrfast.server.tls import HANDSHAKE_TIMEOUT_SECONDS
from tests.door.conftest import DoorServer, serving
from tests.door.corpus.case import MANIFEST, TAG, VICTIM
from tests.door.differ.content import digest_of
from tests.door.tls import TlsSocket
from tests.door.wire import request

pytestmark = pytest.mark.slow

MANIFEST_PATH = f"/v2/{VICTIM}/manifests/{TAG}"
SIZE = 48 << 20


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoorServer]:
    with serving(tmp_path_factory.mktemp("tls"), lanes=True, tls=True, workers=2) as running:
        running.put_victim()
        yield running


@pytest.fixture(scope="module")
def with_http2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoorServer]:
    folder = tmp_path_factory.mktemp("h2")
    with serving(folder, lanes=True, tls=True, SERVER_HTTP2="true") as running:
        running.put_victim()
        yield running


@pytest.fixture(scope="module", params=["compressed", "text", "random"])
def blob(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Push:
    """A large blob, stored as a file or as chunks of either kind."""
    path = tmp_path_factory.mktemp("blob") / request.param
    if request.param == "text":
        content = b"".join(b"line %d of a text\n" % n for n in range(SIZE // 20))
    else:
        start = b"\x1f\x8b\x08" if request.param == "compressed" else b"new"
        content = start + os.urandom(SIZE)
    path.write_bytes(content)
    return Push("tls/large", digest_of(content), Body(path), Framing.CHUNKED)


def shake_hands(server: DoorServer, **limits: ssl.TLSVersion) -> ssl.SSLSocket:
    assert server.tls is not None
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.set_ciphers("ALL:@SECLEVEL=0")  # the client accepts what the server must refuse
    for name, version in limits.items():
        setattr(context, name, version)
    plain = socket.create_connection(server.address, timeout=20)
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_http_1_1_is_chosen_unless_a_setting_offers_more(
    secure: DoorServer, with_http2: DoorServer
) -> None:
    with shake_hands(secure) as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"
        assert connection.version() == "TLSv1.3"
    with shake_hands(with_http2) as connection:
        assert connection.selected_alpn_protocol() == "h2"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused(secure: DoorServer) -> None:
    with shake_hands(secure, maximum_version=ssl.TLSVersion.TLSv1_2) as connection:
        assert connection.version() == "TLSv1.2"
    old = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        shake_hands(secure, minimum_version=ssl.TLSVersion.TLSv1, maximum_version=old)


def test_a_plain_request_is_told_so_and_closed(secure: DoorServer) -> None:
    with socket.create_connection(secure.address, timeout=20) as plain:
        plain.sendall(request("GET", MANIFEST_PATH))
        answer = plain.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.0 400 Bad Request\r\n")
    assert b"HTTPS" in answer


def test_a_silent_client_is_cut(secure: DoorServer) -> None:
    wait = HANDSHAKE_TIMEOUT_SECONDS * 2
    plain = socket.create_connection(secure.address, timeout=wait)
    with plain, contextlib.suppress(ConnectionResetError):  # a reset is as good as an alert
        assert plain.recv(1) == b""
    assert secure.ask(request("GET", MANIFEST_PATH)).body == MANIFEST


def test_a_client_that_leaves_in_the_middle_of_the_handshake_costs_nothing(
    secure: DoorServer,
) -> None:
    hello, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(hello, outgoing, server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    for _ in range(50):
        with socket.create_connection(secure.address) as plain:
            plain.sendall(outgoing.read(100) or b"\x16\x03\x01")
    assert secure.ask(request("GET", MANIFEST_PATH)).body == MANIFEST
    assert "Traceback" not in secure.process.log()


def test_requests_come_in_records_of_any_size(secure: DoorServer) -> None:
    with secure.connect() as wire:
        for byte in request("GET", MANIFEST_PATH):
            wire.send(bytes([byte]))
        assert wire.read_answer().body == MANIFEST
        wire.send(request("GET", MANIFEST_PATH) * 40)
        assert [wire.read_answer().body for _ in range(40)] == [MANIFEST] * 40


def test_blobs_arrive_whole(secure: DoorServer, blob: Push) -> None:
    pushed = load.run(secure.address, [Job((blob,))], connections=1, tls=True)
    assert pushed.errors == ()
    pull = Job((Request("GET", f"/v2/tls/large/blobs/{blob.digest}"),))
    pulled = load.run(secure.address, [pull] * 4, connections=2, tls=True, verify=True)
    assert (pulled.errors, pulled.verified) == ((), 4)
    assert pulled.total.bytes_in == 4 * blob.body.file.stat().st_size


def test_a_slice_is_a_slice(secure: DoorServer, blob: Push) -> None:
    load.run(secure.address, [Job((blob,))], connections=1, tls=True)
    content = blob.body.file.read_bytes()
    target = f"/v2/tls/large/blobs/{blob.digest}"
    answer = secure.ask(request("GET", target, "Range: bytes=1000000-9000000"))
    assert (answer.status, answer.body) == (206, content[1_000_000:9_000_001])


def test_a_cut_answer_is_not_taken_for_whole(tmp_path: Path) -> None:
    content = b"\x1f\x8b\x08" + os.urandom(SIZE)
    target = f"/v2/{VICTIM}/blobs/{digest_of(content)}"
    with serving(tmp_path, lanes=True, tls=True) as server:
        post = f"/v2/{VICTIM}/blobs/uploads/?digest={digest_of(content)}"
        assert server.ask(request("POST", post, body=content), "POST").status == 201
        assert server.tls is not None
        plain = socket.create_connection(server.address, timeout=20)
        client = TlsSocket(plain, server.tls)
        client.sendall(request("GET", target))
        assert client.recv(12) == b"HTTP/1.1 200"
        for worker in server.process.workers():
            worker.kill()
        with pytest.raises(ConnectionResetError):
            read_to_end(client)
        client.close()


def read_to_end(client: TlsSocket) -> None:
    while client.recv(1 << 16):
        pass


def curl(server: DoorServer, folder: Path, *arguments: str) -> str:
    authority = folder / "ca.crt"
    authority.write_text(ssl.get_server_certificate(server.address))
    command = ["curl", "-sS", "--fail", "--cacert", str(authority), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_curl_pushes_and_pulls(
    with_http2: DoorServer, tmp_path: Path, blob: Push, version: str
) -> None:
    base = f"https://127.0.0.1:{with_http2.address[1]}"
    upload = with_http2.begin_upload()
    shown = ["-w", "%{http_version}", "-o", str(tmp_path / "got")]
    used = curl(
        with_http2,
        tmp_path,
        *(version, "-T", str(blob.body.file), *shown),
        f"{base}{upload}?digest={blob.digest}",
    )
    assert used == ("2" if version == "--http2" else "1.1")
    repository = upload.partition("/blobs/")[0]
    curl(with_http2, tmp_path, version, *shown, f"{base}{repository}/blobs/{blob.digest}")
    assert (tmp_path / "got").read_bytes() == blob.body.file.read_bytes()

"""The load client over TLS."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from benchmarks.load import Framing
from tests.benchmarks.load.asking import CONTENT, DIGEST, ask, get, push
from tests.benchmarks.load.server import (
    OK,
    Reply,
    Serve,
    Uploads,
    chunked,
)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x"
    subprocess.run(
        ["openssl", *made.split(), "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def test_push_and_pull_over_tls(serve: Serve, context: ssl.SSLContext, content: Path) -> None:
    uploads = Uploads()
    server = serve(
        lambda asked: chunked(CONTENT, 70_000) if asked.method == "GET" else uploads(asked), context
    )
    jobs = [push(content, framing) for framing in Framing]
    result = ask(server, *jobs, get(digest=DIGEST), get(), tls=True, verify=True)
    assert result.errors == ()
    assert (result.total.count, result.verified) == (5, 1)
    assert (result.total.bytes_out, result.total.bytes_in) == (900_000, 600_000)
    assert result.cipher.startswith("TLSv1.3 TLS_")
    bodies = [asked.body for asked in server.asked if asked.body]
    assert bodies == [CONTENT] * 3


def test_tls_to_a_plain_server_is_an_error(serve: Serve) -> None:
    result = ask(serve(lambda asked: Reply(OK, close=True)), get(), tls=True, timeout_seconds=1.0)
    assert (result.total.count, result.total.errors) == (0, 1)

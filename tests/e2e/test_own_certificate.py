"""The certificate that a registry makes itself: its names, and its replacement."""

from __future__ import annotations

import hashlib
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dtrfast.machine import certificates as kept
from dtrfast.machine.paths import Layout
from tests.e2e import certificates
from tests.e2e.programs import PROJECT, Program, wait_until

pytestmark = pytest.mark.slow


class Server:
    """A `dtrfast serve` on every address of this machine."""

    def __init__(self, folder: Path, port: int, process: subprocess.Popen[str]) -> None:
        self.data = folder / "data"
        self.log = folder / "log"
        self.port = port
        self.process = process

    @property
    def authority(self) -> Path:
        return Layout(self.data).certificate

    def fingerprint(self, host: str = "127.0.0.1", **trusted: str) -> str:
        """Return the fingerprint of the certificate that a new connection gets and trusts."""
        context = ssl.create_default_context(cafile=trusted.get("cafile", str(self.authority)))
        if "certfile" in trusted:
            context.load_cert_chain(trusted["certfile"], trusted["keyfile"])
        with (
            socket.create_connection(("127.0.0.1", self.port), 30) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            secure.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert secure.recv(100).startswith(b"HTTP/1.1 200")
            shown = secure.getpeercert(binary_form=True)
            assert shown is not None
            return ssl.DER_cert_to_PEM_cert(shown)


@contextmanager
def serving(folder: Path, *options: str, host: str = "0.0.0.0") -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "dtrfast", "serve", "--auth", "none", "--workers", "2"]
    command += ["--data", str(folder / "data"), "--bind", f"{host}:{port}", *options]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=log, text=True)
    server = Server(folder, port, process)
    try:
        wait_until(lambda: _listens(port, folder / "log"), process, "an answer")
        yield server
    finally:
        process.terminate()
        process.wait(30)


def _listens(port: int, log: Path) -> bool:
    if "listening on" not in log.read_text():
        return False
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _until(changed: str, server: Server, **trusted: str) -> str:
    """Wait for another fingerprint, on enough connections to reach both workers; returns it."""
    deadline = time.monotonic() + 60
    while True:
        shown = {server.fingerprint(**trusted) for _ in range(32)}
        if changed not in shown:
            (one,) = shown
            return one
        assert time.monotonic() < deadline, "no worker shows another certificate"


def test_a_public_address_has_a_certificate(tmp_path: Path) -> None:
    with serving(tmp_path, "--tls", "auto") as server:
        for host in ("127.0.0.1", "localhost", socket.gethostname()):
            assert server.fingerprint(host)
        first = server.fingerprint()
        assert kept.describe(server.authority).sha256 in server.log.read_text()
        assert Layout(server.data).certificate_pair.stat().st_mode & 0o777 == 0o600
    with serving(tmp_path) as server:
        assert server.fingerprint() == first


def test_the_name_that_clients_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path) as server:
        first = server.fingerprint()
    monkeypatch.setenv("DTRFAST_SERVER_EXTERNAL_URL", "https://registry.example:5000")
    with serving(tmp_path) as server:
        assert server.fingerprint("registry.example") != first


def test_a_loopback_address_and_tls_off_are_plain(tmp_path: Path) -> None:
    for number, (host, options) in enumerate((("127.0.0.1", ()), ("0.0.0.0", ("--tls", "off")))):
        folder = tmp_path / str(number)
        folder.mkdir()
        with (
            serving(folder, *options, host=host) as server,
            socket.create_connection(("127.0.0.1", server.port), 30) as plain,
        ):
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert plain.recv(100).startswith(b"HTTP/1.1 200")


def test_clients_trust_it(
    tmp_path: Path, skopeo: Program, docker_daemons: tuple[Program, Program]
) -> None:
    with serving(tmp_path) as server:
        host = f"127.0.0.1:{server.port}"
        curl = ["curl", "-sf", "--cacert", str(server.authority), f"https://{host}/v2/"]
        subprocess.run(curl, check=True)
        trusted = tmp_path / "certs.d"
        trusted.mkdir()
        shutil.copy(server.authority, trusted / "ca.crt")
        (tmp_path / "empty").mkdir()
        target = f"docker://{host}/team/x:1"
        layout = _layout(tmp_path)
        skopeo.run("copy", f"--dest-cert-dir={trusted}", layout, target)
        assert "team/x" in skopeo.run("inspect", f"--cert-dir={trusted}", target)


def _layout(folder: Path) -> str:
    """Return an image without layers."""
    path = folder / "image"
    path.mkdir()
    (path / "version").write_text("Directory Transport Version: 1.1\n")
    config = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
    digest = hashlib.sha256(config).hexdigest()
    (path / digest).write_bytes(config)
    (path / "manifest.json").write_text(
        '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":'
        '{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:'
        f'{digest}","size":{len(config)}}},"layers":[]}}'
    )
    return f"dir:{path}"


def test_it_is_replaced_while_the_server_runs(tmp_path: Path) -> None:
    given = certificates.make(_make_folder(tmp_path / "given"))
    with serving(tmp_path) as server:
        first = server.fingerprint()
        both = tmp_path / "both.crt"
        both.write_text(server.authority.read_text() + given.chain.read_text())
        kept.replace(server.data, given.chain.read_bytes(), given.key.read_bytes())
        second = _until(first, server, cafile=str(both))
        Layout(server.data).certificate_pair.write_text("half a certificate")
        for _ in range(30):
            assert server.fingerprint() == second
            time.sleep(0.1)
        assert "stays in use" in server.log.read_text()
    assert not Layout(server.data).certificate_pair.read_text().startswith("-----")


def test_a_certificate_that_was_given_is_not_made_again(tmp_path: Path) -> None:
    given = certificates.make(_make_folder(tmp_path / "given"))
    with serving(tmp_path):
        pass
    kept.replace(tmp_path / "data", given.chain.read_bytes(), given.key.read_bytes())
    with serving(tmp_path) as server:
        assert server.fingerprint(cafile=str(given.chain)) == given.chain.read_text()


def test_only_clients_with_a_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = certificates.make(_make_folder(tmp_path / "mine"))
    other = certificates.make(_make_folder(tmp_path / "other"))
    monkeypatch.setenv("DTRFAST_SERVER_TLS_CLIENT_CA", str(mine.chain))
    with serving(tmp_path) as server:
        assert server.fingerprint(certfile=str(mine.chain), keyfile=str(mine.key))
        for shown in ({}, {"certfile": str(other.chain), "keyfile": str(other.key)}):
            with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
                server.fingerprint(**shown)


def _make_folder(folder: Path) -> Path:
    folder.mkdir()
    return folder

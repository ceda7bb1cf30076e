"""Strict-Transport-Security is sent only with certificates that the administrator gave."""

from __future__ import annotations

from pathlib import Path

from dtrfast.config import ServerConfig
from dtrfast.machine import certificates
from dtrfast.machine.paths import Layout
from dtrfast.server.tls import Contexts
from tests.e2e.certificates import make


def contexts(certificate: Path, key: Path) -> Contexts:
    return Contexts(ServerConfig(tls_cert=str(certificate), tls_key=str(key)))


def test_a_certificate_that_was_given_keeps_browsers_to_https(tmp_path: Path) -> None:
    pair = make(tmp_path)
    assert contexts(pair.chain, pair.key).hsts() == b"max-age=2592000"
    assert Contexts(ServerConfig()).hsts() == b""


def test_one_that_the_registry_made_does_not_until_it_is_replaced(tmp_path: Path) -> None:
    certificates.ensure(tmp_path, ["localhost"])
    own = Layout(tmp_path).certificate_pair
    used = contexts(own, own)
    assert used.hsts() == b""
    folder = tmp_path / "given"
    folder.mkdir()
    pair = make(folder)
    certificates.replace(tmp_path, pair.chain.read_bytes(), pair.key.read_bytes())
    used._look()
    assert used.hsts() == b"max-age=2592000"

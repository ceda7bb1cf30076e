"""TLS: what this server accepts, and whether its certificate and key can be used."""

from __future__ import annotations

import logging
import os
import ssl
import time
from dataclasses import replace
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from dtrfast.config import Config, ServerConfig, external_host, split_address
from dtrfast.errors import ConfigInvalid
from dtrfast.machine import certificates
from dtrfast.machine.paths import Layout

log = logging.getLogger("dtrfast.tls")

_LOOK_SECONDS = 2.0

# From TCP's accept to the end of the handshake; a client on a poor line needs two or three.
HANDSHAKE_TIMEOUT_SECONDS = 10.0

# Forward secrecy and an authenticated cipher: what every client of the last ten years has. TLS 1.3
# has its own list, which holds nothing else.
_TLS_1_2_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def alpn_protocols(config: ServerConfig) -> list[str]:
    return ["h2", "http/1.1"] if config.http2 else ["http/1.1"]


def make_context(config: ServerConfig, *, asks_clients: bool = True) -> ssl.SSLContext | None:
    """The context of all connections; None where they are plain. Raises ConfigInvalid."""
    if not config.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS_1_2_CIPHERS)
    context.set_alpn_protocols(alpn_protocols(config))
    # A client may not make us repeat the handshake, which costs us more than it.
    context.options |= ssl.OP_NO_RENEGOTIATION
    # The client knows which cipher its processor is good at; ours is good at all of them.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    _load(context, config)
    if config.tls_client_ca:
        _load_authorities(context, config.tls_client_ca)
        context.verify_mode = ssl.CERT_REQUIRED if asks_clients else ssl.CERT_NONE
    return context


def resolve(config: Config, *, is_public: bool) -> Config:
    """The settings with the certificate that connections are to have, which may be made here.

    Raises ConfigInvalid where a setting needs TLS that there is none of.
    """
    server = config.server
    if server.tls == "off" and server.tls_cert:
        raise ConfigInvalid("server.tls: it is off, and server.tls_cert is given: take one away")
    if server.tls_cert or not is_public or server.tls == "off":
        if server.tls_client_ca and not server.tls_cert:
            raise ConfigInvalid("server.tls_client_ca: clients show certificates over TLS only")
        return config
    name = external_host(config)
    given = [urlsplit(f"//{name}").hostname or name] if name else []
    host, _ = split_address(server.bind)
    bound = [] if host in ("0.0.0.0", "::") else [host]
    data = config.store.data
    certificates.ensure(data, [*given, *bound, *certificates.machine_names()])
    path = str(Layout(data).certificate_pair.absolute())
    return replace(config, server=replace(server, tls_cert=path, tls_key=path))


class Contexts:
    """The context for the next connection: files that change are read again.

    They are looked at when a connection comes, and not more than every two seconds. A pair that
    cannot be used is logged once, and the one before stays in use.
    """

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._signature = self._sign()
        self._context = make_context(config)
        self._hsts = _hsts(config)
        self._looked_at = time.monotonic()

    def current(self) -> ssl.SSLContext | None:
        now = time.monotonic()
        if self._context is not None and now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self._look()
        return self._context

    def hsts(self) -> bytes:
        """The value of Strict-Transport-Security for connections with the context of `current`.

        Empty with a certificate that the registry made: browsers would let no user accept it.
        """
        return self._hsts

    def _look(self) -> None:
        signature = self._sign()
        if signature == self._signature:
            return
        self._signature = signature
        try:
            self._context = make_context(self._config)
            self._hsts = _hsts(self._config)
        except ConfigInvalid as error:
            log.error("the certificate that was used before stays in use: %s", error)
        else:
            log.info("the certificate in %s was replaced", self._config.tls_cert)

    def _sign(self) -> tuple[object, ...]:
        config = self._config
        paths = (config.tls_cert, config.tls_key, config.tls_client_ca)
        return tuple(_stamp(path) for path in paths if path)


def _hsts(config: ServerConfig) -> bytes:
    try:
        is_given = bool(config.tls_cert) and certificates.is_given(Path(config.tls_cert))
    except (OSError, ValueError):
        return b""  # it was replaced since it was loaded, and is looked at again
    return b"max-age=%d" % config.hsts_seconds if is_given else b""


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def check(config: ServerConfig) -> str | None:
    """When the certificate expires, as it says itself; None where connections are plain.

    Raises ConfigInvalid when no client could connect: besides what `make_context` refuses, for a
    certificate that has expired, is of the future, or is not for servers.
    """
    context = make_context(config, asks_clients=False)
    if context is None:
        return None
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    # Only the certificate itself is examined: clients have authorities that we do not.
    client.load_verify_locations(cadata=_first_certificate(config))
    try:
        peer = _shake_hands(context, client).getpeercert()
    except ssl.SSLCertVerificationError as error:
        raise ConfigInvalid(
            f"server.tls_cert: clients would refuse {config.tls_cert}: {error.verify_message};"
            f" `openssl x509 -in {config.tls_cert} -noout -text` shows what it says"
        ) from error
    except ssl.SSLError as error:
        raise ConfigInvalid(
            f"server.tls_cert: no client could connect with {config.tls_cert}: {_reason(error)}"
        ) from error
    assert peer is not None
    return str(peer["notAfter"])


def _load(context: ssl.SSLContext, config: ServerConfig) -> None:
    _require("server.tls_cert", config.tls_cert, "CERTIFICATE-----")
    _require("server.tls_key", config.tls_key, "PRIVATE KEY-----")
    try:
        context.load_cert_chain(
            config.tls_cert, config.tls_key, password=lambda: _refuse_passphrase(config.tls_key)
        )
    except OSError as error:
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigInvalid(
                f"server.tls_key: {config.tls_key} is not the key of the first certificate in"
                f" {config.tls_cert}: the server's own comes first there, then those that signed it"
            ) from error
        raise ConfigInvalid(
            f"server.tls_cert: {config.tls_cert} or {config.tls_key} cannot be used:"
            f" {_reason(error)}; write both in PEM again"
        ) from error


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    _require("server.tls_client_ca", path, "CERTIFICATE-----")
    try:
        context.load_verify_locations(cafile=path)
    except OSError as error:
        raise ConfigInvalid(
            f"server.tls_client_ca: {path} cannot be used: {_reason(error)}; write it in PEM again"
        ) from error


def _require(name: str, path: str, marker: str) -> None:
    """Refuse a file that cannot be read or is something else."""
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise ConfigInvalid(f"{name}: {path} cannot be read: {error.strerror}") from error
    if marker.encode() not in text:
        raise ConfigInvalid(f"{name}: {path} has no line `-----BEGIN … {marker}`: give a PEM file")


def _refuse_passphrase(path: str) -> NoReturn:
    raise ConfigInvalid(
        f"server.tls_key: {path} has a passphrase, which nobody could type at a restart:"
        f" `openssl pkey -in {path} -out NEW` writes it without"
    )


def _first_certificate(config: ServerConfig) -> bytes:
    text = Path(config.tls_cert).read_text(encoding="ascii", errors="replace")
    end = "-----END CERTIFICATE-----"
    start = text.index("-----BEGIN CERTIFICATE-----")
    return ssl.PEM_cert_to_DER_cert(text[start : text.index(end, start) + len(end)])


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Connect the two in memory. Gives the client's side."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server)
    waiting = [theirs, ours]
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
    return theirs


def _reason(error: OSError) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return (reason or str(error)).replace("_", " ").lower()

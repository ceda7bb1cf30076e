"""The TLS settings of this server, and the checks of its certificate and key."""

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

# The time from accept to the end of the handshake. A client on a poor line needs two or three.
HANDSHAKE_TIMEOUT_SECONDS = 10.0

# Forward secrecy and authenticated ciphers, which each client of the last ten years has. TLS 1.3
# has its own list, with such ciphers only.
_TLS_1_2_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def alpn_protocols(config: ServerConfig) -> list[str]:
    return ["h2", "http/1.1"] if config.http2 else ["http/1.1"]


def make_context(config: ServerConfig, *, asks_clients: bool = True) -> ssl.SSLContext | None:
    """Return the context of all connections; None if they are plain. Raises ConfigInvalid.

    With `asks_clients` clients need a certificate if the settings name their authority.
    """
    if not config.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS_1_2_CIPHERS)
    context.set_alpn_protocols(alpn_protocols(config))
    # A repeated handshake costs the server more than the client, so clients may not ask for one.
    context.options |= ssl.OP_NO_RENEGOTIATION
    # The client chooses the cipher, because it knows the fastest one on its processor. On servers
    # all of them are fast.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    _load(context, config)
    if config.tls_client_ca:
        path = config.tls_client_ca
        _require("server.tls_client_ca", path, "CERTIFICATE-----")
        try:
            context.load_verify_locations(cafile=path)
        except OSError as error:
            raise ConfigInvalid(
                f"server.tls_client_ca: {path} cannot be used: {_reason(error)};"
                " write it in PEM again"
            ) from error
        context.verify_mode = ssl.CERT_REQUIRED if asks_clients else ssl.CERT_NONE
    return context


def resolve(config: Config, *, is_public: bool) -> Config:
    """Return the settings with the certificate of all connections, and make one if needed.

    `is_public`: other machines can reach the server. Raises ConfigInvalid if the settings
    contradict each other, or need TLS where there is none.
    """
    server = config.server
    if server.tls == "off" and server.tls_cert:
        raise ConfigInvalid("server.tls is off, but server.tls_cert is set: remove one of the two")
    if server.tls_cert or not is_public or server.tls == "off":
        if server.tls_client_ca and not server.tls_cert:
            raise ConfigInvalid("server.tls_client_ca needs TLS: set server.tls_cert")
        return config
    name = external_host(config)
    given = [urlsplit(f"//{name}").hostname or name] if name else []
    host, _ = split_address(server.bind)
    bound = [] if host in ("0.0.0.0", "::") else [host]
    data = config.store.data
    certificates.ensure(data, [*given, *bound], certificates.machine_names())
    path = str(Layout(data).certificate_pair.absolute())
    return replace(config, server=replace(server, tls_cert=path, tls_key=path))


class Contexts:
    """The context for the next connection, made again when the files change.

    The files are checked when a connection comes, at most every two seconds. An unusable pair is
    logged once, and the previous pair stays in use.
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
        """Return the value of Strict-Transport-Security for the context of `current`.

        It is empty for a certificate that the registry made, because with this header browsers let
        no user accept such a certificate.
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
            log.error("the previous certificate stays in use: %s", error)
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
        return b""  # the file was replaced after it was loaded, so it is read again
    return b"max-age=%d" % config.hsts_seconds if is_given else b""


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def check(config: ServerConfig) -> str | None:
    """Return the certificate's own text for its expiry; None if connections are plain.

    Raises ConfigInvalid if no client could connect. That is so if `make_context` refuses the files,
    or if the certificate has expired, is not valid yet, or is not for servers.
    """
    context = make_context(config, asks_clients=False)
    if context is None:
        return None
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    # Only the certificate itself is checked: clients may trust authorities unknown to the server.
    text = Path(config.tls_cert).read_text(encoding="ascii", errors="replace")
    end = "-----END CERTIFICATE-----"
    start = text.index("-----BEGIN CERTIFICATE-----")
    first = text[start : text.index(end, start) + len(end)]
    client.load_verify_locations(cadata=ssl.PEM_cert_to_DER_cert(first))
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
                f" {config.tls_cert}: put the server's certificate first there, then its issuers'"
            ) from error
        raise ConfigInvalid(
            f"server.tls_cert: {config.tls_cert} or {config.tls_key} cannot be used:"
            f" {_reason(error)}; write both in PEM again"
        ) from error


def _require(name: str, path: str, marker: str) -> None:
    """Raise ConfigInvalid if the file cannot be read, or has no PEM block of that kind."""
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise ConfigInvalid(f"{name}: {path} cannot be read: {error.strerror}") from error
    if marker.encode() not in text:
        raise ConfigInvalid(f"{name}: {path} has no line `-----BEGIN … {marker}`: give a PEM file")


def _refuse_passphrase(path: str) -> NoReturn:
    raise ConfigInvalid(
        f"server.tls_key: {path} has a passphrase, but a restart cannot ask for it:"
        f" `openssl pkey -in {path} -out NEW` writes the key without one"
    )


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Do a handshake in memory; return the client's side."""
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

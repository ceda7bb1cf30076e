"""`dtrfast serve`: run the registry."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from dtrfast.assembly import open_store
from dtrfast.cli.options import WHOLE, ConfigFile, Data
from dtrfast.config import Config, load
from dtrfast.jobs.log import configure
from dtrfast.logs.keeper import LogKeeper
from dtrfast.machine import certificates, privacy
from dtrfast.machine.paths import Layout
from dtrfast.server import first_start, listener, tls
from dtrfast.server.supervisor import (
    Supervisor,
    hold_signals,
    open_listening,
    worker_count,
)

log = logging.getLogger("dtrfast")

# What this process is called in its messages, wherever they go.
_PROCESS = "supervisor"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Options that belong together."""

    tls: Annotated[
        str | None, Parameter(help="auto, or off: plain HTTP on every address (behind a proxy).")
    ] = None
    tls_cert: Annotated[
        str | None, Parameter(help="A certificate chain in PEM; with --tls-key it serves https.")
    ] = None
    tls_key: Annotated[
        str | None, Parameter(help="The certificate's private key in PEM, without a passphrase.")
    ] = None


_PLAIN = TlsFiles()


def serve(
    *,
    config: ConfigFile = None,
    data: Data = None,
    bind: Annotated[str | None, Parameter(help="HOST:PORT to listen on (127.0.0.1:5000).")] = None,
    files: Annotated[TlsFiles, Parameter(name="*")] = _PLAIN,
    workers: Annotated[
        int | None, WHOLE, Parameter(help="Processes that answer requests (0: one for each core).")
    ] = None,
    auth: Annotated[
        str | None,
        Parameter(help="managed: accounts (the default). none: everybody may do everything."),
    ] = None,
) -> int:
    """Run the registry until it is told to stop (SIGTERM, or Ctrl-C)."""
    options = {
        "store.data": data,
        "server.bind": bind,
        "server.tls": files.tls,
        "server.tls_cert": files.tls_cert,
        "server.tls_key": files.tls_key,
        "server.workers": workers,
        "auth.mode": auth,
    }
    settings = load(config, os.environ, options)
    configure(settings.log, _PROCESS)
    tls.check(settings.server)
    lock, listening = open_listening(settings)
    # Before there is another thread, which would be given them: they are for the supervisor.
    hold_signals()
    keeper = LogKeeper(Layout(settings.store.data).server_log, _PROCESS)
    configure(settings.log, _PROCESS, keeper)
    try:
        return _serve(settings, lock, listening)
    finally:
        keeper.close()


def _serve(settings: Config, lock: int, listening: Sequence[socket.socket]) -> int:
    password = _check_store(settings)
    settings = tls.resolve(settings, is_public=not listener.is_loopback(listening))
    expires = tls.check(settings.server)
    if expires is not None:
        log.info("the certificate in %s expires on %s", settings.server.tls_cert, expires)
    if settings.server.tls_cert == str(Layout(settings.store.data).certificate_pair.absolute()):
        _tell_of_certificate(settings, listening)
    if password is not None:
        first_start.show_password(password)
    _announce(settings, listening)
    return Supervisor(settings, listening, lock).run()


def _check_store(config: Config) -> str | None:
    """Refuse here what every worker would refuse; it also makes a new data directory.

    Gives the password of the first administrator where there was no account yet.
    """
    store = open_store(config)
    try:
        return first_start.make_admin(store, config)
    finally:
        store.close()


def _tell_of_certificate(config: Config, listening: Sequence[socket.socket]) -> None:
    """What clients have to be told before they trust a certificate that nobody vouches for."""
    data = config.store.data.absolute()
    log.info("its SHA-256 is %s", certificates.describe(Layout(data).certificate_pair).sha256)
    log.info(
        "docker trusts it where %s is /etc/docker/certs.d/HOST:%d/ca.crt",
        Layout(data).certificate,
        listening[0].getsockname()[1],
    )


def _announce(config: Config, listening: Sequence[socket.socket]) -> None:
    log.info(
        "listening on %s, data in %s, %d workers",
        listener.url_of(listening, config.server),
        config.store.data.resolve(),
        worker_count(config),
    )
    if config.server.proxy_protocol == "required":
        proxies = ", ".join(config.server.trusted_proxies)
        log.info("connections need a PROXY header, and come from proxies at %s only", proxies)
    for problem in privacy.exposures(config.store.data):
        log.warning("%s", problem)
    if config.auth.mode == "none":
        log.warning("auth none serves everybody everything")
        if not listener.is_loopback(listening):
            log.warning(
                "ANYBODY WHO REACHES %s MAY READ, REPLACE AND DELETE EVERYTHING: bind to 127.0.0.1,"
                " or let only those reach it whom you trust",
                config.server.bind,
            )

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
from dtrfast.server import first_start, listener, service_manager, tls
from dtrfast.server.supervisor import (
    Supervisor,
    hold_signals,
    open_listening,
    worker_count,
)

log = logging.getLogger("dtrfast")

# The name of this process in its log lines.
_PROCESS = "supervisor"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The options about TLS."""

    tls: Annotated[
        str | None,
        Parameter(help="auto, or off: plain HTTP on every address, for use behind a proxy."),
    ] = None
    tls_cert: Annotated[
        str | None, Parameter(help="A certificate chain, a PEM file. Needs --tls-key.")
    ] = None
    tls_key: Annotated[
        str | None, Parameter(help="The private key, a PEM file without a passphrase.")
    ] = None


_PLAIN = TlsFiles()


def serve(
    *,
    config: ConfigFile = None,
    data: Data = None,
    bind: Annotated[
        str | None, Parameter(help="The HOST:PORT to listen on (127.0.0.1:5000).")
    ] = None,
    files: Annotated[TlsFiles, Parameter(name="*")] = _PLAIN,
    workers: Annotated[
        int | None, WHOLE, Parameter(help="Number of worker processes (0: one for each core).")
    ] = None,
    auth: Annotated[
        str | None,
        Parameter(help="managed: accounts (the default). none: any client may do everything."),
    ] = None,
) -> int:
    """Run the registry until SIGTERM or Ctrl-C stops it."""
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
    passed = service_manager.take_sockets(os.environ)
    settings = service_manager.bound_to(settings, passed)
    tls.check(settings.server)
    lock, listening = open_listening(settings, passed)
    # Before any other thread starts: the kernel could give a signal to that thread, and the signals
    # are for the supervisor.
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
    layout = Layout(settings.store.data.absolute())
    if settings.server.tls_cert == str(layout.certificate_pair):
        # An administrator needs this to make clients trust the generated certificate.
        log.info("its SHA-256 is %s", certificates.describe(layout.certificate_pair).sha256)
        log.info(
            "to make docker trust it, copy %s to /etc/docker/certs.d/HOST:%d/ca.crt",
            layout.certificate,
            listening[0].getsockname()[1],
        )
    if password is not None:
        first_start.show_password(password)
    _announce(settings, listening)
    notices = service_manager.Notices(os.environ)
    return Supervisor(settings, listening, lock, notices=notices).run()


def _check_store(config: Config) -> str | None:
    """Open the store once, so that a problem is reported here and not by every worker. Makes a new
    data directory.

    Returns the password of the first administrator if this call created that account.
    """
    store = open_store(config)
    try:
        return first_start.make_admin(store, config)
    finally:
        store.close()


def _announce(config: Config, listening: Sequence[socket.socket]) -> None:
    log.info(
        "listening on %s, data in %s, %d workers",
        listener.url_of(listening, config.server),
        config.store.data.resolve(),
        worker_count(config),
    )
    if config.server.proxy_protocol == "required":
        proxies = ", ".join(config.server.trusted_proxies)
        log.info("connections need a PROXY header, and are accepted from %s only", proxies)
    for problem in privacy.exposures(config.store.data):
        log.warning("%s", problem)
    if config.auth.mode == "none":
        log.warning("auth is none: any client may do everything")
        if not listener.is_loopback(listening):
            log.warning(
                "ANY CLIENT THAT REACHES %s MAY READ, REPLACE AND DELETE EVERYTHING: bind to"
                " 127.0.0.1, or restrict access to the address",
                config.server.bind,
            )

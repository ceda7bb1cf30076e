"""The protocols of service managers: listening sockets that they pass, and notices to them.

systemd, podman and other managers open ports below 1024, so the server needs no right to do that.
A manager that keeps the sockets loses no connection during a restart. Sources: sd_listen_fds(3),
sd_notify(3).
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping
from contextlib import ExitStack
from dataclasses import replace

from dtrfast.config import Config
from dtrfast.errors import StartRefused

log = logging.getLogger("dtrfast")

_FIRST_DESCRIPTOR = 3
_LISTEN_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
_NOTIFY_VARIABLE = "NOTIFY_SOCKET"
# The origin of server.bind in the settings that the process shows.
_ORIGIN = "socket of the service manager"


def take_sockets(
    environment: MutableMapping[str, str], first: int = _FIRST_DESCRIPTOR
) -> list[socket.socket]:
    """Return the listening sockets that were passed to this process, and forget the variables.

    The sockets begin at the descriptor `first`. Raises StartRefused if one of them does not listen
    for TCP connections, or if their addresses differ.
    """
    pid, count, _ = (environment.pop(name, "") for name in _LISTEN_VARIABLES)
    # Variables for another process are left over: a parent did not remove them.
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    with ExitStack() as stack:
        taken = [stack.enter_context(_take(first + number)) for number in range(int(count))]
        addresses = sorted({_address(one) for one in taken})
        if len(addresses) > 1:
            raise StartRefused(
                f"the service manager passed sockets of {' and '.join(addresses)}: pass sockets of"
                " one address"
            )
        stack.pop_all()
    return taken


def _take(descriptor: int) -> socket.socket:
    try:
        taken = socket.socket(fileno=descriptor)
    except OSError as error:
        raise StartRefused(
            f"the service manager passed no socket as descriptor {descriptor}: {error.strerror}"
        ) from error
    is_tcp = taken.family in (socket.AF_INET, socket.AF_INET6) and taken.type == socket.SOCK_STREAM
    if not is_tcp or not taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        taken.close()
        raise StartRefused(
            f"descriptor {descriptor} of the service manager is no listening TCP socket: use"
            " ListenStream=PORT and Accept=no in the socket unit"
        )
    # Children get exactly the sockets that they serve.
    taken.set_inheritable(False)
    taken.setblocking(False)
    taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
    return taken


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bound_to(config: Config, sockets: list[socket.socket]) -> Config:
    """Return the settings with the address of the sockets in place of `server.bind`."""
    if not sockets:
        return config
    address = _address(sockets[0])
    log.info("the service manager listens on %s; server.bind does not count", address)
    server = replace(config.server, bind=address)
    return replace(config, server=server, origins={**config.origins, "server.bind": _ORIGIN})


class Notices:
    """Notices about the state of this process to its service manager, if it wants them."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Read the manager's address, and remove the variable: children send no notices."""
        address = environment.pop(_NOTIFY_VARIABLE, "")
        # A name with @ is in the abstract namespace, where it begins with a zero byte.
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def send(self, state: str) -> None:
        """Send a state such as READY=1. A failure is logged: the manager may wait in vain."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto(state.encode(), self._address)
        except OSError as error:
            log.warning("could not send %s to the service manager: %s", state, error)

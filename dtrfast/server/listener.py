"""The listening sockets: one for each worker, all on one address.

The kernel spreads connections over them evenly and at random. With a single socket, the first
worker to wake up takes all waiting connections: of 16 simultaneous ones it often got every one.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack

from dtrfast.config import ServerConfig, split_address
from dtrfast.errors import StartRefused

# Connections that may wait in the kernel. The kernel caps it at net.core.somaxconn.
BACKLOG = 2048


def listen(config: ServerConfig, count: int) -> list[socket.socket]:
    """Return `count` sockets that listen. Raises StartRefused with the address and the reason."""
    try:
        with ExitStack() as stack:
            listening = _listen(config, count, stack)
            stack.pop_all()
            return listening
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise StartRefused(
            f"cannot listen on {config.bind}: {reason}; choose another address with --bind"
        ) from error


def _listen(config: ServerConfig, count: int, stack: ExitStack) -> list[socket.socket]:
    host, port = split_address(config.bind)
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # It binds before SO_REUSEPORT is set, so binding fails if another server has the address.
    first = stack.enter_context(_open(family))
    first.bind(address)
    listening = [first, *(stack.enter_context(_open(family)) for _ in range(count - 1))]
    for listener in listening:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if listener is not first:
            listener.bind(first.getsockname())
        listener.listen(BACKLOG)
    return listening


def _open(family: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
    listener.setblocking(False)
    return listener


def spread(listening: Sequence[socket.socket], count: int) -> list[tuple[socket.socket, ...]]:
    """Return the sockets of each of `count` workers.

    Each socket has a worker, because the kernel gives connections to all sockets of an address. If
    there are fewer sockets than workers, several workers share one.
    """
    shares: list[list[socket.socket]] = [[] for _ in range(count)]
    if listening:
        for number in range(max(count, len(listening))):
            shares[number % count].append(listening[number % len(listening)])
    return [tuple(share) for share in shares]


def url_of(listening: Sequence[socket.socket], config: ServerConfig) -> str:
    """Return the server's URL, with the port that the kernel chose if the setting has port 0."""
    host, port = listening[0].getsockname()[:2]
    scheme = "https" if config.tls_cert else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def is_loopback(listening: Sequence[socket.socket]) -> bool:
    host: str = listening[0].getsockname()[0]
    return host == "::1" or host.startswith("127.")

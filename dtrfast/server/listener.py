"""The listening socket, which all workers share."""

from __future__ import annotations

import socket

from dtrfast.config import ServerConfig, split_address
from dtrfast.errors import StartRefused


def listen(config: ServerConfig) -> socket.socket:
    """Bind and listen. Raises StartRefused with the address and the reason."""
    host, port = split_address(config.bind)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
        listener.bind(address)
        listener.listen(config.backlog)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise StartRefused(
            f"cannot listen on {config.bind}: {reason}; choose another address with --bind"
        ) from error
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket, config: ServerConfig) -> str:
    """Where clients find it, with the port that the kernel chose if it was asked to."""
    host, port = listener.getsockname()[:2]
    scheme = "https" if config.tls_cert else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def is_loopback(listener: socket.socket) -> bool:
    host: str = listener.getsockname()[0]
    return host == "::1" or host.startswith("127.")

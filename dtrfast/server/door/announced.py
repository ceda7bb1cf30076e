"""Connections that a TCP proxy passes on, with a PROXY header in front that names the client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from dtrfast.server.door import proxy_header
from dtrfast.server.door.door_context import DoorContext
from dtrfast.server.proxies import Peer


class _PendingConnection:
    """A connection whose PROXY header has not arrived yet."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def close_idle(self) -> None:
        """Abort, because the idle time is over or the server stops."""
        self._writer.transport.abort()


async def open_announced(
    context: DoorContext,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    serve: Callable[[Peer], Awaitable[None]],
    proxy: Peer,
) -> None:
    """Serve a connection for the client in its PROXY header; close it without a trusted header.

    `serve` gets the client as the peer. `proxy` is the connection's other end.
    """
    pending = _PendingConnection(writer)
    context.idle.add(pending)
    try:
        peer = await _receive_peer(context, reader, proxy)
    finally:
        context.idle.remove(pending)
    if peer is None:
        writer.transport.abort()
    else:
        await serve(peer)


async def _receive_peer(
    context: DoorContext, reader: asyncio.StreamReader, proxy: Peer
) -> Peer | None:
    """Return the client of a connection of `proxy`; None without a trusted PROXY header.

    If the proxy does not know the client, the client gets the proxy's address, and its own
    `X-Forwarded-*` headers are not trusted.
    """
    address = proxy.address[0] if proxy.address else "an unknown address"
    if not proxy.is_proxy:
        context.proxies.hint(
            "closed a connection from %s, which is no trusted proxy: server.proxy_protocol is"
            " required; if it is your proxy, add its address to server.trusted_proxies",
            address,
            about=address,
        )
        return None
    try:
        header = await proxy_header.receive(reader)
    except (ValueError, EOFError, TimeoutError, OSError) as error:
        # Probes of a listening server close the connection without a byte.
        is_probe = isinstance(error, asyncio.IncompleteReadError) and not error.partial
        if not is_probe:
            context.proxies.hint(
                "closed a connection from %s without a PROXY header (%s): let that proxy send one,"
                " or set server.proxy_protocol to off",
                address,
                str(error) or "it did not arrive in time",
                about=address,
            )
        return None
    if header.client is not None:
        peer = context.proxies.peer(header.client)
        return replace(peer, is_secure=header.is_secure)
    return proxy if header.is_own else Peer(proxy.address, is_secure=header.is_secure)


def hint_at_proxy_header(
    context: DoorContext, peer: Peer, data: bytes | bytearray | memoryview
) -> None:
    """Warn of a proxy that sends PROXY headers to a listener that accepts none.

    `data`: the malformed head that `peer` sent.
    """
    if proxy_header.is_start(bytes(data[: proxy_header.SIZE_MIN])):
        address = peer.address[0] if peer.address else "an unknown address"
        context.proxies.hint(
            "refused a PROXY header from %s: if it is your proxy, set server.proxy_protocol to"
            " required",
            address,
            about=address,
        )

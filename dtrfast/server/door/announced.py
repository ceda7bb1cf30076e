"""Connections that proxies of TCP pass on: a PROXY header in front says whose they are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from dtrfast.server.door import proxy_header
from dtrfast.server.door.context import Context
from dtrfast.server.proxies import Peer


class _Announcing:
    """A connection that has not said yet whose it is."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def close_idle(self) -> None:
        """The server stops."""
        self._writer.transport.abort()


async def open_announced(
    context: Context,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    serve: Callable[[Peer], Awaitable[None]],
    proxy: Peer,
) -> None:
    """Serve a connection of the client that its PROXY header names; close it if it has none."""
    announcing = _Announcing(writer)
    context.idle.add(announcing)
    try:
        peer = await _announced(context, reader, proxy)
    finally:
        context.idle.remove(announcing)
    if peer is None:
        writer.transport.abort()
    else:
        await serve(peer)


async def _announced(context: Context, reader: asyncio.StreamReader, proxy: Peer) -> Peer | None:
    """The client of a connection of `proxy`; None where there is no header that is believed.

    A client that the proxy does not know has the proxy's address, and its headers are its own word.
    """
    address = proxy.address[0] if proxy.address else "an unknown address"
    if not proxy.is_proxy:
        context.proxies.hint(
            "closed a connection from %s, which is no trusted proxy, as server.proxy_protocol is"
            " required; if it is a proxy of yours, add its address to server.trusted_proxies",
            address,
            about=address,
        )
        return None
    try:
        header = await proxy_header.receive(reader)
    except (ValueError, EOFError, TimeoutError, OSError) as error:
        if not _is_probe(error):
            context.proxies.hint(
                "closed a connection from %s without a PROXY header (%s): let that proxy send one,"
                " or set server.proxy_protocol to off",
                address,
                str(error) or "it did not come in time",
                about=address,
            )
        return None
    if header.client is not None:
        peer = context.proxies.peer(header.client)
        return replace(peer, is_secure=header.is_secure)
    return proxy if header.is_own else Peer(proxy.address, is_secure=header.is_secure)


def _is_probe(error: Exception) -> bool:
    """Return whether a connection was opened and closed, to see whether a server listens."""
    return isinstance(error, asyncio.IncompleteReadError) and not error.partial

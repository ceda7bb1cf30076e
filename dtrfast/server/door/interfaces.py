"""The interfaces by which the parts of the door use each other.

`Door` makes an `Exchange`, and an exchange makes a `SocketLane`. The Protocols here describe the
earlier parts as the later parts use them. So imports go in one direction only.
"""

from __future__ import annotations

import asyncio
from enum import IntEnum
from typing import Protocol

from dtrfast.server.door.receive_buffer import ReceiveBuffer
from dtrfast.server.door.send_flow import SendFlow


class ExchangeOutcome(IntEnum):
    """The reason why an exchange ended, which decides about its connection."""

    KEEP = 0  # the connection takes the next request
    CLOSE = 1
    UNREAD = 2  # the request's body was not read: no later bytes can be a request
    CUT = 3  # the response is incomplete
    REFUSE = 4  # the request's body was malformed


class ClientConnection(Protocol):
    """A client's connection, as an exchange and its lane use it."""

    transport: asyncio.Transport
    received: ReceiveBuffer
    flow: SendFlow
    server: tuple[str, int] | None  # host and port of the socket; None for a Unix socket
    hsts: bytes  # the value of Strict-Transport-Security; empty for no such header

    @property
    def is_lost(self) -> bool:
        """True once the connection is closed."""
        ...

    def put_back(self, data: bytes) -> None:
        """Return received bytes that are not part of the request's body."""
        ...

    def end_exchange(self, outcome: ExchangeOutcome) -> None:
        """Go on with the next request, or close the connection."""
        ...


class LaneExchange(Protocol):
    """A request and its response, as the lane uses them."""

    def want_body(self) -> None:
        """Send `100 Continue` if the client waits for it. Call this before reading the body."""
        ...

    def refuse_body(self) -> None:
        """Record that the body's framing is malformed, so that nothing more can be read."""
        ...

    async def disconnect(self) -> None:
        """Tell the application that the client is gone."""
        ...

"""The interfaces between the API and the server around it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from starlette.types import Scope

from dtrfast.api.recalls import RecallWatch
from dtrfast.config import Config
from dtrfast.identity.guard import Guard
from dtrfast.identity.identity import Identity
from dtrfast.registry.registry import Registry
from dtrfast.store.blobs import Segment, Upload
from dtrfast.store.report import StoreReport

T = TypeVar("T")

# The key of a server's lane in a scope's state. Clients cannot set it.
LANE = "dtrfast.lane"
# The key of a function in a scope's state. It returns True if the client has closed its side.
LEFT = "dtrfast.left"


class Hop(Protocol):
    """Runs functions on threads. Every call that may wait for the disk goes through it."""

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Call `function` on a thread and return its result.

        A call that has begun ends before this returns, even if the caller is canceled. So no caller
        releases objects that a thread still uses. Only the first call of a request may raise
        `ServerBusy`.
        """
        ...


class StopFlag(Protocol):
    """The sign that the server stops, for answers that would never end."""

    def is_set(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class ApiContext:
    """The parts of the server that requests use.

    `registry` checks no permits: a request gets the registry of its caller from `guard`. `store`
    reports figures of the store to administrators. `identity` is None without accounts. `ending` is
    set when the server stops. `recalls` belongs to the event loop of the requests.
    """

    registry: Registry
    hop: Hop
    config: Config
    guard: Guard
    store: StoreReport
    identity: Identity | None = None
    ending: StopFlag = field(default_factory=threading.Event)
    recalls: RecallWatch = field(default_factory=RecallWatch)


class Lane(Protocol):
    """A server's way to move a blob's bytes on threads, in place of ASGI's messages."""

    # Bytes of content moved so far.
    bytes_in: int
    bytes_out: int

    @property
    def finished(self) -> bool:
        """True if the request's body has been read to its end."""
        ...

    async def receive(self, upload: Upload, size_max: int | None) -> int:
        """Append the request's body to `upload`, and return the body's size in bytes.

        Stops early if the body has more than `size_max` bytes. No other code may read the body.
        Afterwards no thread uses the upload. Raises `ClientGone`, `ClientIdle`, and the upload's
        exceptions.
        """
        ...

    async def send(self, segments: Iterator[Segment]) -> None:
        """Send segments as the content of an answer, whose head with its length was sent before.

        Threads take the segments, one at a time. In any case the caller closes their reader; it
        ends the answer if all were sent. Raises `ClientGone`, and the exceptions of the iterator.
        """
        ...


def has_left(scope: Scope) -> bool:
    """Return True if the client of this request has closed its side, as far as the server knows."""
    look: Callable[[], bool] | None = scope.get("state", {}).get(LEFT)
    return look is not None and look()


def lane_of(scope: Scope) -> Lane | None:
    """Return the lane of this request; None if the server has no lanes."""
    lane: Lane | None = scope.get("state", {}).get(LANE)
    return lane

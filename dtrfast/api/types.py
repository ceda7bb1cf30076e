"""What the API is given by whoever assembles it."""

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

# Where a server puts its lane into a scope's state; no client can.
LANE = "dtrfast.lane"
# Where a server puts a function that says whether the client has closed its side.
LEFT = "dtrfast.left"


class Hop(Protocol):
    """The way to a thread. Everything that may wait for the disk goes through it."""

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Call `function` on a thread.

        Once the call has begun it ends before this returns, cancelled or not, so that nobody lets
        go of what a thread still uses. Only the first call of a request may raise `Overloaded`.
        """
        ...


class Ending(Protocol):
    """Tells that the server stops, for answers that would go on for ever."""

    def is_set(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of the server that requests use.

    `registry` checks no permits: a request gets the registry of its caller from `guard`. `store`
    has the figures of the store, for administrators. `identity` is None without accounts. `ending`
    is set once the server stops. `recalls` belongs to the event loop of the requests.
    """

    registry: Registry
    hop: Hop
    config: Config
    guard: Guard
    store: StoreReport
    identity: Identity | None = None
    ending: Ending = field(default_factory=threading.Event)
    recalls: RecallWatch = field(default_factory=RecallWatch)


class Lane(Protocol):
    """What a server may offer beside ASGI's messages: a blob's bytes, moved on threads."""

    # Bytes of content that it moved so far.
    bytes_in: int
    bytes_out: int

    @property
    def finished(self) -> bool:
        """Whether the request's body has been read to its end."""
        ...

    async def receive(self, upload: Upload, size_max: int | None) -> int:
        """Append the request's body to `upload`; returns its size. Nobody else may read the body.

        Stops early when there are more than `size_max` bytes. Raises `ClientGone`, `ClientIdle`,
        and what the upload raises. Afterwards no thread uses the upload.
        """
        ...

    async def send(self, segments: Iterator[Segment]) -> None:
        """Send segments as the content of an answer that began with its length in a header.

        They are taken on threads, one at a time. Raises `ClientGone` and what taking them raises;
        either way the caller closes their reader, and ends the answer if it is whole.
        """
        ...


def has_left(scope: Scope) -> bool:
    """True if the client of this request has closed its side, as far as the server can tell."""
    look: Callable[[], bool] | None = scope.get("state", {}).get(LEFT)
    return look is not None and look()


def lane_of(scope: Scope) -> Lane | None:
    """The lane of this request; most servers have none."""
    lane: Lane | None = scope.get("state", {}).get(LANE)
    return lane

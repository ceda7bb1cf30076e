"""What the front door uses of Hypercorn and of asyncio is where it expects it.

When a test here fails with a new Hypercorn, that moved something which is no public interface: read
the docstring of `dtrfast/server/door/connection.py`, mend the door, then these tests, and only then
widen the range of versions in `pyproject.toml`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import socket
from collections.abc import Callable, Generator, Iterable
from importlib.metadata import version
from typing import Any

import hypercorn.asyncio.run
import hypercorn.protocol
import pytest
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio import tcp_server
from hypercorn.asyncio.run import worker_serve
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config, Sockets
from hypercorn.protocol import events
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.http_stream import HTTPStream

MOVED = (
    f"Hypercorn {version('hypercorn')} moved the seam of the front door: {{}}. The docstring of"
    " dtrfast/server/door/connection.py says what is used and why."
)


def check(holds: bool, what: str) -> None:
    assert holds, MOVED.format(what)


def check_parameters(function: Callable[..., Any], expected: str) -> None:
    """Whether it takes these, by these names and in this order."""
    found = [name for name in inspect.signature(function).parameters if name != "self"]
    check(found == expected.split(), f"{function.__qualname__} takes {found}, not {expected}")


def check_fields(event: type, expected: str) -> None:
    found = [field.name for field in dataclasses.fields(event)]
    check(found == expected.split(), f"{event.__name__} has {found}, not {expected}")


def check_attributes(owner: object, expected: Iterable[str]) -> None:
    for name in expected:
        check(hasattr(owner, name), f"{owner} has no {name}")


def test_the_server_looks_its_connections_up_by_name() -> None:
    check(
        hypercorn.asyncio.run.TCPServer is tcp_server.TCPServer,  # type: ignore[attr-defined]
        "hypercorn.asyncio.run has another TCPServer",
    )
    check_parameters(tcp_server.TCPServer.__init__, "app loop config context state reader writer")
    check(inspect.isfunction(tcp_server.TCPServer.__await__), "TCPServer is not awaited")


def test_streams_are_made_and_spoken_to_as_before() -> None:
    check_parameters(
        HTTPStream.__init__,
        "app config context task_group ssl client server send stream_id",
    )
    check_parameters(HTTPStream.handle, "event")
    check(inspect.iscoroutinefunction(HTTPStream.handle), "HTTPStream.handle is not awaited")
    check_parameters(TaskGroup.__init__, "loop")
    check_attributes(TaskGroup, ("__aenter__", "__aexit__", "spawn_app"))


def test_events_have_their_fields() -> None:
    check_fields(events.Request, "stream_id headers http_version method raw_path state")
    check_fields(events.Response, "stream_id headers status_code")
    check_fields(events.Body, "stream_id data")
    check_fields(events.EndBody, "stream_id")
    check_fields(events.StreamClosed, "stream_id")


def test_http2_has_what_is_changed_of_it() -> None:
    check(hypercorn.protocol.H2Protocol is H2Protocol, "hypercorn.protocol has no H2Protocol")  # type: ignore[attr-defined]
    check_attributes(H2Protocol, ("initiate", "_flush"))
    check_attributes(tcp_server.TCPServer, ("run", "_read_data"))


class Recorder:
    """Stands where the door's `Doorman` does."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.called = asyncio.Event()

    def __call__(self, *arguments: Any) -> Recorder:
        self.calls.append(arguments)
        self.called.set()
        arguments[-1].close()
        return self

    def __await__(self) -> Generator[Any]:
        yield from asyncio.sleep(0).__await__()


async def receive_one(recorder: Recorder) -> None:
    """Let Hypercorn's loop serve one connection."""
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    sockets = Sockets(secure_sockets=[], insecure_sockets=[listening], quic_sockets=[])
    served = worker_serve(
        ASGIWrapper(refuse_lifespan),
        Config(),
        sockets=sockets,
        shutdown_trigger=recorder.called.wait,
    )
    task = asyncio.create_task(served)
    await asyncio.sleep(0)
    _, writer = await asyncio.open_connection(*address)
    await asyncio.wait_for(task, 20)
    writer.close()


async def refuse_lifespan(scope: Any, receive: Any, send: Any) -> None:
    raise NotImplementedError


def test_a_connection_comes_with_what_the_door_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run by Hypercorn itself: it may compute what no signature tells."""

    async def run() -> None:
        recorder = Recorder()
        monkeypatch.setattr(hypercorn.asyncio.run, "TCPServer", recorder)
        await receive_one(recorder)
        check(len(recorder.calls) == 1, "it asks nobody when a connection comes")
        app, loop, config, worker, state, reader, writer = recorder.calls[0]
        check(isinstance(app, ASGIWrapper), "the application comes in another wrapper")
        check(loop is asyncio.get_running_loop(), "the loop is another")
        check(isinstance(config, Config) and isinstance(state, dict), "settings come otherwise")
        check(isinstance(worker, WorkerContext), "the worker's context is another")
        check(worker.terminated.is_set(), "connections are not told that the server stops")
        check(isinstance(reader, asyncio.StreamReader), "the reader is no StreamReader")
        check(isinstance(writer, asyncio.StreamWriter), "the writer is no StreamWriter")

    asyncio.run(run())


def test_a_reader_keeps_what_came_before_the_door() -> None:
    """Of the standard library, and as private as what is above."""

    async def run() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(b"GET ")
        reader.feed_eof()
        check(bytes(reader._buffer) == b"GET ", "StreamReader keeps bytes elsewhere")  # type: ignore[attr-defined]
        check(reader._eof is True, "StreamReader keeps its end elsewhere")  # type: ignore[attr-defined]

    asyncio.run(run())


@pytest.mark.parametrize(
    "altered",
    [
        lambda: check_parameters(
            lambda app, loop, config, context, reader, writer: None, "app loop"
        ),
        lambda: check_fields(events.Body, "stream_id data trailers"),
        lambda: check_attributes(HTTPStream, ["answer"]),
        lambda: check(False, "it is gone"),
    ],
)
def test_a_seam_that_moved_is_told(altered: Callable[[], None]) -> None:
    with pytest.raises(AssertionError, match=r"moved the seam.*connection\.py"):
        altered()

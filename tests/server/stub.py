"""A small application in place of the registry, and a program that serves it.

`python -m tests.server.stub` reads a configuration as JSON from its first argument, prints the
address on which it listens, and supervises workers that run the application in its second argument.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from dtrfast.config import Config
from dtrfast.errors import StartRefused
from dtrfast.jobs.log import configure
from dtrfast.logs.keeper import LogKeeper
from dtrfast.server.asgi import Receive, Scope, Send
from dtrfast.server.leftover import Leftover
from dtrfast.server.listener import url_of
from dtrfast.server.served_app import ServedApp
from dtrfast.server.supervisor import Supervisor, open_listening


@contextmanager
def serving(config: Config, name: str, keeper: LogKeeper) -> Iterator[ServedApp]:
    notes = config.store.data.with_name("notes")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        answer: dict[str, Callable[[Receive, Send], Awaitable[None]]] = {
            "/count": partial(_count, notes),
            "/unread": _unread,
            "/large": _large,
            "/slow": _slow,
        }
        if scope["path"] == "/pid":
            await _respond(send, 200, str(os.getpid()).encode())
            return
        try:
            await answer[scope["path"]](receive, send)
        except asyncio.CancelledError:
            _note(notes, "cancelled")
            raise
        finally:
            _note(notes, f"over {scope['path']}")

    yield ServedApp(Leftover(app))


@contextmanager
def refusing(config: Config, name: str, keeper: LogKeeper) -> Iterator[ServedApp]:
    if config.server.workers:
        raise StartRefused("the format is from the future")
    yield serving  # type: ignore[misc]


def _note(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text + "\n")


async def _count(notes: Path, receive: Receive, send: Send) -> None:
    """Respond with the count of bytes in the body."""
    size = 0
    _note(notes, "began")
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            _note(notes, "disconnected")
            return
        size += len(message["body"])
        if not message["more_body"]:
            break
    await _respond(send, 200, str(size).encode())


async def _unread(receive: Receive, send: Send) -> None:
    await _respond(send, 403, b"no")


async def _slow(receive: Receive, send: Send) -> None:
    await receive()
    await asyncio.sleep(0.5)  # in place of work of the server
    await _respond(send, 200, b"done")


async def _large(receive: Receive, send: Send) -> None:
    await _respond(send, 200, bytes(1 << 26))


async def _respond(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def main() -> int:
    config = Config.decode(sys.argv[1].encode())
    app = sys.argv[2]
    configure(config.log, "server")
    lock, listening = open_listening(config)
    sys.stdout.write(json.dumps(url_of(listening, config.server)) + "\n")
    sys.stdout.flush()
    return Supervisor(config, listening, lock, app=app).run()


if __name__ == "__main__":
    sys.exit(main())

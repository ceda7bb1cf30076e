"""Servers with scripted answers, and records of the requests that they get."""

from __future__ import annotations

import socket
import socketserver
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True, slots=True)
class Asked:
    """A received request. `chunks` are the sizes of the chunks of a chunked body."""

    connection: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    chunks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """The bytes of an answer. The connection may be closed after them."""

    data: bytes
    close: bool = False


Answer = Callable[[Asked], Reply | bytes]


class Server(socketserver.ThreadingTCPServer):
    """A server that answers each request with the result of a function."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 100

    def __init__(self, answer: Answer, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.asked: list[Asked] = []
        self.context = context
        self.connections = 0

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.socket.getsockname()
        return host, port

    def get_request(self) -> tuple[socket.socket, object]:
        accepted, address = super().get_request()
        self.connections += 1
        if self.context is not None:
            accepted = self.context.wrap_socket(accepted, server_side=True)
        return accepted, address

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that disconnect."""


class _Handler(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        connection = self.server.connections
        while line := self.rfile.readline().decode().split():
            headers = {}
            while (field := self.rfile.readline().decode().rstrip("\r\n")) != "":
                name, _, value = field.partition(": ")
                headers[name.lower()] = value
            pieces = list(self.pieces(headers))
            sizes = tuple(map(len, pieces)) if "transfer-encoding" in headers else ()
            asked = Asked(connection, line[0], line[1], headers, b"".join(pieces), sizes)
            self.server.asked.append(asked)
            answer = self.server.answer(asked)
            reply = Reply(answer) if isinstance(answer, bytes) else answer
            self.wfile.write(reply.data)
            if reply.close:
                return

    def pieces(self, headers: dict[str, str]) -> Iterator[bytes]:
        """Return the body and the sizes of its chunks."""
        if headers.get("transfer-encoding") != "chunked":
            yield self.rfile.read(int(headers.get("content-length", "0")))
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            assert self.rfile.readline() == b"\r\n"
        assert self.rfile.readline() == b"\r\n"


Serve = Callable[..., Server]


def response(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(body: bytes, size: int) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


def read_head(readline: Callable[[], bytes]) -> None:
    while readline() not in (b"\r\n", b""):
        pass


class Uploads:
    """Answer pushes as a registry does, with a location that already has a query."""

    def __init__(self, *, absolute: bool = False, mounts: bool = False) -> None:
        self.absolute = absolute
        self.mounts = mounts

    def __call__(self, asked: Asked) -> bytes:
        location = f"/v2/r/blobs/uploads/7?_state={asked.method}"
        if self.absolute:
            location = f"http://{asked.headers['host']}{location}"
        match asked.method:
            case "HEAD":
                return b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n"
            case "POST" if self.mounts:
                return response("201 Created")
            case "POST" | "PATCH":
                return response("202 Accepted", b"", f"Location: {location}")
            case _:
                return response("201 Created")

"""A web server and a proxy on this machine, which record their requests."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class WebServer:
    """A web server. `answers` has status, headers and body by path. With `drips` it sends bodies
    byte by byte.
    """

    port: int = 0
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)  # the name in the TLS handshake (SNI)
    drips: bool = False

    @property
    def hosts(self) -> list[str]:
        return [headers["host"] for _, _, headers in self.requests]


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        web: WebServer = self.server.web  # type: ignore[attr-defined]
        headers = {name.lower(): value for name, value in self.headers.items()}
        web.requests.append((self.command, self.path, headers))
        web.bodies.append(self.rfile.read(int(headers.get("content-length", "0"))))
        status, extra, body = web.answers.get(self.path, (200, {}, b"here"))
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **extra}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):
            for piece in [body[n : n + 1] for n in range(len(body))] if web.drips else [body]:
                self.wfile.write(piece)
                time.sleep(0.05 if web.drips else 0)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        return None


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        return None  # a client that refuses the certificate


@contextmanager
def web_server(context: ssl.SSLContext | None = None) -> Iterator[WebServer]:
    """Run a web server at 127.0.0.1. With a context it uses TLS."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        web = WebServer(server.server_address[1])
        if context is not None:
            context.sni_callback = lambda _, name, __: web.names.append(name)
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        server.web = web  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield web
        server.shutdown()
        thread.join()


@dataclass
class Raw:
    """A server that is not a web server. `asked` has the first bytes of each connection."""

    port: int
    asked: list[bytes] = field(default_factory=list)


@contextmanager
def raw_server(answer: bytes, pause_seconds: float = 0.0) -> Iterator[Raw]:
    """Run a server that sends `answer` on each connection; with a pause, byte by byte."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        raw = Raw(listening.getsockname()[1])

        def talk(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                raw.asked.append(connection.recv(65_536))
                step = 1 if pause_seconds else len(answer) or 1
                for first in range(0, len(answer), step):
                    connection.sendall(answer[first : first + step])
                    time.sleep(pause_seconds)
                connection.recv(1)

        _accept(listening, talk)
        yield raw
        listening.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy_server() -> Iterator[Raw]:
    """Run a proxy that connects to 127.0.0.1 for every host of a CONNECT."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        raw = Raw(listening.getsockname()[1])

        def relay(client: socket.socket) -> None:
            with client, suppress(OSError):
                head = client.recv(65_536)
                raw.asked.append(head)
                port = int(head.split(b" ")[1].rpartition(b":")[2])
                with socket.create_connection(("127.0.0.1", port)) as server:
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    _start(_copy, client, server)
                    _copy(server, client)

        _accept(listening, relay)
        yield raw
        listening.shutdown(socket.SHUT_RDWR)


def _accept(listening: socket.socket, talk: object) -> None:
    def loop() -> None:
        with suppress(OSError):
            while True:
                _start(talk, listening.accept()[0])

    _start(loop)


def _start(work: object, *args: object) -> None:
    threading.Thread(target=work, args=args, daemon=True).start()  # type: ignore[arg-type]


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)

"""A TCP proxy that stalls or cuts a connection after a number of bytes of answers."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def cutting(port: int, bytes_max: int | None, *, stalls: bool = False) -> Iterator[str]:
    """Run a proxy for `port`, and give its address.

    After `bytes_max` bytes of answers, it closes the connection. With `stalls`, it sends nothing
    more instead.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    opened: list[socket.socket] = []
    thread = threading.Thread(target=_serve, args=(listening, port, bytes_max, stalls, opened))
    thread.start()
    try:
        yield f"ldap://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for one in opened:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        thread.join()


def _serve(
    listening: socket.socket,
    port: int,
    bytes_max: int | None,
    stalls: bool,
    opened: list[socket.socket],
) -> None:
    while True:
        try:
            client, _ = listening.accept()
        except OSError:
            return
        server = socket.create_connection(("127.0.0.1", port))
        opened += [client, server]
        threading.Thread(target=_pass_on, args=(client, server), daemon=True).start()
        answers = (server, client, bytes_max, stalls)
        threading.Thread(target=_pass_on, args=answers, daemon=True).start()


def _pass_on(
    source: socket.socket,
    target: socket.socket,
    bytes_max: int | None = None,
    stalls: bool = False,
) -> None:
    left = bytes_max
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            if left is not None:
                data = data[:left]
                left -= len(data)
            target.sendall(data)
            if left == 0:
                if not stalls:
                    target.shutdown(socket.SHUT_RDWR)
                return

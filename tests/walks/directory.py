"""An LDAP directory without entries, on a loopback port.

It accepts every sign-in and finds nothing, which is all that the walks need of a directory. The
client's own tests use a real server (`tests/identity/ldap`).
"""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Tags of RFC 4511: a request, and the answer that ends it.
_ANSWERS = {0x60: 0x61, 0x63: 0x65}
_UNBIND = 0x42
_MESSAGE = 0x30


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while message := self._read_message():
            number, kind = message
            if kind == _UNBIND:
                return
            success = bytes((_ANSWERS[kind], 7, 10, 1, 0, 4, 0, 4, 0))
            body = number + success
            self.wfile.write(bytes((_MESSAGE, len(body))) + body)

    def _read_message(self) -> tuple[bytes, int] | None:
        """The encoded number of a message and the tag of its operation; None at the end."""
        if self.rfile.read(1) != bytes((_MESSAGE,)):
            return None
        content = self.rfile.read(self._read_length())
        end = 2 + content[1]
        return content[:end], content[end]

    def _read_length(self) -> int:
        first = self.rfile.read(1)[0]
        return int.from_bytes(self.rfile.read(first & 0x7F), "big") if first > 0x7F else first


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextmanager
def running() -> Iterator[str]:
    """Yield the directory's URL while it answers."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"ldap://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()

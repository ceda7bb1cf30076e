"""A client that sends given bytes and reads answers strictly.

Faults that a lenient client would forgive fail a test here: two lengths, a body behind a 204, bytes
behind the last answer, a reset.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from tests.door.tls import CutWithoutGoodbye, TlsSocket

TIMEOUT_SECONDS = 20.0

_match_status = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [\x20-\x7e]*").fullmatch
_match_field = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ?([\x21-\x7e]?[\x20-\x7e]*)").fullmatch
_match_length = re.compile(rb"0|[1-9][0-9]*").fullmatch
_match_size = re.compile(rb"[0-9a-fA-F]+").fullmatch


@dataclass(frozen=True, slots=True)
class Answer:
    """A final answer. Names of its headers are in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    interim: tuple[int, ...] = field(default=(), compare=False)  # 1xx before it

    def get(self, name: str) -> str | None:
        """Return the only value of a header, or None if it is missing."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} is repeated: {values}"
        return values[0] if values else None

    @property
    def closes(self) -> bool:
        return self.get("connection") == "close"


class Wire:
    """A connection to a server."""

    def __init__(
        self,
        address: tuple[str, int],
        timeout_seconds: float = TIMEOUT_SECONDS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        plain = socket.create_connection(address, timeout=timeout_seconds)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = plain if tls is None else TlsSocket(plain, tls)
        self._held = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def send_end(self) -> None:
        """Shut down the client's side."""
        self._socket.shutdown(socket.SHUT_WR)

    def read_answer(self, method: str = "GET") -> Answer:
        """Return the next final answer, to a request with that method."""
        interim: list[int] = []
        while True:
            status, headers = self._read_head()
            if status >= 200:
                break
            interim.append(status)
        answer = Answer(status, tuple(headers))
        return Answer(status, answer.headers, self._read_body(answer, method), tuple(interim))

    def read_answers(self, methods: Sequence[str] = ()) -> list[Answer]:
        """Return all answers until the connection ends, cut or closed.

        `methods` are those of the first requests; the others are GET.
        """
        answers: list[Answer] = []
        try:
            while self._held or self._receive_ahead():
                number = len(answers)
                answers.append(
                    self.read_answer(methods[number] if number < len(methods) else "GET")
                )
        except ConnectionResetError:
            assert not self._held, f"cut in the middle of {self._held[:200]!r}"
        return answers

    def read_interim(self) -> int:
        """Return the status of a 1xx answer."""
        status, _ = self._read_head()
        assert status < 200
        return status

    def read_end(self, *, unanswered: bool = False) -> None:
        """Check that the server closes without another byte, and without a reset.

        Over TLS it must send a close_notify, unless a request is left `unanswered`.
        """
        try:
            rest = self._held + self._receive()
        except CutWithoutGoodbye:
            assert unanswered, "a cut behind an answer may hide a part of it"
            rest = self._held
        assert rest == b"", f"more came: {rest[:200]!r}"

    def _read_head(self) -> tuple[int, list[tuple[str, str]]]:
        lines = self._read_until(b"\r\n\r\n").split(b"\r\n")[:-2]
        status = _match_status(lines[0])
        assert status, f"no status line: {lines[0]!r}"
        headers = []
        for line in lines[1:]:
            pair = _match_field(line)
            assert pair, f"no field line: {line!r}"
            headers.append((pair[1].decode().lower(), pair[2].decode()))
        return int(status[1]), headers

    def _read_body(self, answer: Answer, method: str) -> bytes:
        length, coding = answer.get("content-length"), answer.get("transfer-encoding")
        assert length is None or coding is None, "both a length and a coding for one body"
        assert length is None or _match_length(length.encode()), length
        if method == "HEAD" or answer.status in (204, 304):
            assert answer.status != 204 or length is None
            return b""
        if coding is not None:
            assert coding == "chunked"
            return self._read_chunks()
        if length is not None:
            return self._read_exactly(int(length))
        return self._read_to_end()

    def _read_chunks(self) -> bytes:
        body = b""
        while True:
            line = self._read_until(b"\r\n")[:-2]
            assert _match_size(line), f"no chunk size: {line!r}"
            piece = self._read_exactly(int(line, 16))
            assert self._read_exactly(2) == b"\r\n"
            if not piece:
                return body
            body += piece

    def _read_until(self, end: bytes) -> bytes:
        while end not in self._held:
            self._held += self._receive_some()
        data, _, self._held = self._held.partition(end)
        return data + end

    def _read_exactly(self, size: int) -> bytes:
        pieces, have = [self._held], len(self._held)
        while have < size:
            pieces.append(self._receive_some())
            have += len(pieces[-1])
        data = b"".join(pieces)
        self._held = data[size:]
        return data[:size]

    def _read_to_end(self) -> bytes:
        data, self._held = self._held, b""
        while piece := self._receive():
            data += piece
        return data

    def _receive_ahead(self) -> bool:
        """Return True if more bytes arrive; they are kept."""
        self._held += self._receive()
        return self._held != b""

    def _receive_some(self) -> bytes:
        data = self._receive()
        assert data, f"closed in the middle of an answer, behind {self._held[-200:]!r}"
        return data

    def _receive(self) -> bytes:
        return self._socket.recv(1 << 16)


def request(
    method: str, target: str, *headers: str, body: bytes = b"", host: str = "registry.example"
) -> bytes:
    """Return a well-formed request. A body gets its length unless the headers have one."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers]
    framed = any(h.lower().startswith(("content-length:", "transfer-encoding:")) for h in headers)
    if (body or method in ("POST", "PUT", "PATCH")) and not framed:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(*pieces: bytes, trailer: bytes = b"") -> bytes:
    """Return the pieces as a body in the chunked transfer coding."""
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n" + trailer + b"\r\n"

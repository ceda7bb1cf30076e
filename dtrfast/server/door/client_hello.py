"""A check of the first bytes of a TLS connection, before OpenSSL gets them."""

from __future__ import annotations

# OpenSSL allocates memory for a hello as soon as the hello states its size, up to 128 KiB.
# The hellos of real clients are below 4 KiB, with post-quantum keys.
_SIZE_MAX = 16 * 1024
_HANDSHAKE, _CLIENT_HELLO = 22, 1
# A record's type, version and length, then a message's type and length (RFC 8446 sections 4 and 5).
_HEAD_SIZE = 9


class ClientHello:
    """The head of a connection's first TLS record, as far as it has come."""

    __slots__ = ("_head",)

    def __init__(self) -> None:
        self._head = b""

    def accept(self, data: bytes) -> bool:
        """Take the connection's next bytes; return False if its hello must be refused.

        A hello is refused if it is too long, or if its first record is too short for its own head.
        Bytes that are no hello are accepted, because OpenSSL has the right error for them.
        """
        missing = _HEAD_SIZE - len(self._head)
        if missing <= 0:
            return True
        self._head += data[:missing]
        head = self._head
        if len(head) < _HEAD_SIZE or head[0] != _HANDSHAKE or head[5] != _CLIENT_HELLO:
            return True
        record_size, hello_size = int.from_bytes(head[3:5]), int.from_bytes(head[6:9])
        return record_size >= 4 and hello_size <= _SIZE_MAX

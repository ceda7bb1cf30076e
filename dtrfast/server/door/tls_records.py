"""The TLS state of one connection, between two buffers in memory."""

from __future__ import annotations

import ssl
from typing import cast

# OpenSSL's memory buffers never shrink, so a connection keeps twice this many bytes after a
# transfer. Larger pieces were not faster.
PIECE_SIZE = 64 * 1024


class TlsRecords:
    """Encrypts and decrypts the records of one connection. One thread at a time may use it."""

    # All connections of the event loop decrypt into this, one at a time.
    _scratch = memoryview(bytearray(PIECE_SIZE))

    __slots__ = ("has_ended", "incoming", "outgoing", "ssl")

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming = ssl.MemoryBIO()  # records from the client
        self.outgoing = ssl.MemoryBIO()  # records to the client
        self.ssl = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.has_ended = False  # the client's close_notify was read

    def has_records(self) -> bool:
        """Return True if bytes of a record wait, perhaps of an incomplete one."""
        return not self.has_ended and (self.incoming.pending > 0 or self.ssl.pending() > 0)

    def read(self) -> bytes:
        """Decrypt up to `PIECE_SIZE` bytes; return nothing if no record is whole.

        Only for the event loop's thread. Raises `ssl.SSLError`.
        """
        size = 0
        try:
            while size < PIECE_SIZE and self.has_records():
                # The standard library's stub forgets that with a buffer this is a count.
                count = cast(int, self.ssl.read(PIECE_SIZE - size, self._scratch[size:]))
                size += count
                self.has_ended = count == 0
        except ssl.SSLWantReadError:
            pass  # the last record is incomplete
        return bytes(self._scratch[:size])

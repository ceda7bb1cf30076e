"""The lifeline: a child process of the server gets its settings, and notices the supervisor's end.

The lifeline is the child's standard input. The supervisor writes one line of JSON, and keeps the
pipe open as long as it lives. However it dies, the kernel closes its end, and the child reads
end-of-file. Settings are not passed as arguments or in the environment, which other users can read.
"""

from __future__ import annotations

import os
import signal

import msgspec

from dtrfast.config import Config

DESCRIPTOR = 0
EXIT_REFUSED = 78  # EX_CONFIG of sysexits.h: starting this child again would fail the same way

_LINE_SIZE_MAX = 1 << 20


class Start(msgspec.Struct, frozen=True):
    """The settings of a child process. It inherits descriptors under the same numbers."""

    name: str
    config: msgspec.Raw
    sockets: tuple[int, ...] = ()
    app: str = ""  # module:function, which makes the application of a worker


def encode(start: Start) -> bytes:
    return msgspec.json.encode(start) + b"\n"


def receive() -> tuple[Start, Config]:
    """Read the first line of standard input, and ignore SIGINT and SIGHUP from now on.

    An interrupt typed at the terminal reaches all processes, but only the supervisor acts on it.
    Raises `SystemExit` if the line does not come from a supervisor.
    """
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(DESCRIPTOR, 65_536)
        if not piece or len(line) > _LINE_SIZE_MAX:
            raise SystemExit("this program is started by `dtrfast serve`")
        line += piece
    start = msgspec.json.decode(line, type=Start)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return start, Config.decode(start.config)


def allow_signals() -> None:
    """Unblock the signals that the supervisor blocked. To be called once their handlers are set."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())

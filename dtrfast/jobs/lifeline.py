"""How a child process of the server learns what to do, and that its supervisor is gone.

Standard input is both: the supervisor writes one line of JSON, then nothing, and keeps its end open
as long as it lives. However it dies, the kernel closes that end and the child reads end-of-file.
Settings travel this way because arguments and the environment can be read by others.
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
    """What a child needs to begin. Descriptors are inherited under the same numbers."""

    name: str
    config: msgspec.Raw
    sockets: tuple[int, ...] = ()
    app: str = ""  # module:function, which makes what a worker serves


def encode(start: Start) -> bytes:
    return msgspec.json.encode(start) + b"\n"


def receive() -> tuple[Start, Config]:
    """Read the first line of standard input; afterwards let signals in, which the supervisor held.

    An interrupt typed at the terminal reaches all processes, but only the supervisor acts on it.
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
    """Deliver the signals that were blocked across the start, once handlers for them stand."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())

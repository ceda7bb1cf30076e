"""The parent process of a registry under test: `python -m dtrfast.testing.launcher COMMAND …`.

It runs the command, and stops it with SIGTERM when standard input ends. The kernel closes that pipe
however the test process ends, also after SIGKILL. So no registry stays behind. The exit status is
that of the command.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Sequence


def run(command: Sequence[str]) -> int:
    """Run the command until it ends or standard input does. Returns its exit status."""
    # Ctrl-C reaches all processes of the terminal. The test process decides when the server stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as server:
        ended = os.pidfd_open(server.pid)
        with selectors.DefaultSelector() as selector:
            selector.register(sys.stdin, selectors.EVENT_READ)
            selector.register(ended, selectors.EVENT_READ)
            selector.select()
        os.close(ended)
        server.terminate()  # does nothing if the server has ended
        return server.wait()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))

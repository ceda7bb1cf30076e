"""The parent process of a registry under test: `python -m dtrfast.testing.launcher SECONDS
COMMAND …`.

It runs the command, and stops it with SIGTERM when standard input has a byte or ends, or when the
test process ends, however that ends. The end of the pipe is not enough: a forked child of the test
process keeps it open. A command that does not stop in SECONDS is killed with all of its processes.
So no registry stays behind. The exit status is that of the command.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Sequence


def run(stop_seconds: float, command: Sequence[str]) -> int:
    """Run the command until it ends or has to stop. Returns its exit status."""
    # Ctrl-C reaches all processes of the terminal. The test process decides when the server stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.pidfd_open(os.getppid())
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as server:
        _wait_for_input_or_end(parent, os.pidfd_open(server.pid))
        server.terminate()  # does nothing if the server has ended
        try:
            return server.wait(stop_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            sys.stderr.write(f"the server did not stop in {stop_seconds:g} s, so it was killed\n")
            return server.wait()


def _wait_for_input_or_end(*processes: int) -> None:
    """Wait until standard input has a byte or ends, or one of the processes (pidfd) ends."""
    with selectors.DefaultSelector() as selector:
        for source in (sys.stdin, *processes):
            selector.register(source, selectors.EVENT_READ)
        selector.select()
    for descriptor in processes:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(run(float(sys.argv[1]), sys.argv[2:]))

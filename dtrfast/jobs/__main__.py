"""The housekeeper's process. The supervisor starts it."""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import time
from contextlib import ExitStack
from functools import partial

from dtrfast.assembly import open_store
from dtrfast.errors import DtrfastError, StartRefused
from dtrfast.jobs import housekeeper, lifeline, recording
from dtrfast.jobs.board import Board
from dtrfast.jobs.definitions import registry_jobs
from dtrfast.jobs.log import configure
from dtrfast.jobs.tasks import housekeeping
from dtrfast.logs.keeper import LogKeeper
from dtrfast.machine.paths import Layout

log = logging.getLogger("dtrfast.housekeeper")


class _StopSignal:
    """The sign that this process has to stop: SIGTERM, or the end of the supervisor.

    A signal writes to a pipe, so one `select` waits for both and misses neither.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        signal.signal(signal.SIGTERM, lambda number, frame: None)  # the pipe is enough
        # The kernel may give the signal to any thread. The pipe wakes this one.
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def wait(self, seconds: float) -> bool:
        """Wait for up to `seconds`. Returns True if the process has to stop."""
        ready, _, _ = select.select([self._read, lifeline.DESCRIPTOR], [], [], seconds)
        return bool(ready)


def main() -> int:
    """Run the housekeeper until it has to stop. Returns the exit status."""
    start, config = lifeline.receive()
    keeper = LogKeeper(Layout(config.store.data).server_log, start.name)
    configure(config.log, start.name, keeper)
    stop = _StopSignal()
    lifeline.allow_signals()
    try:
        with ExitStack() as stack:
            store = open_store(config)
            stack.callback(store.close)
            tasks = housekeeping(store, config, stack)
            board = Board(store.engine, registry_jobs(store, config, lambda: int(time.time())))
            beside = partial(recording.recorded, store, config, "housekeeper")
            housekeeper.keep(tasks, config.store.data, stop.wait, board, beside)
    except StartRefused as error:
        log.error("%s", error)
        return lifeline.EXIT_REFUSED
    except DtrfastError as error:  # the supervisor tries again, and the cause may be gone
        log.error("%s", error)
        return 1
    else:
        return 0
    finally:
        keeper.close()


if __name__ == "__main__":
    sys.exit(main())

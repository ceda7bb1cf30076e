"""The housekeeper's process. Run by the supervisor."""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import time
from contextlib import ExitStack
from functools import partial
from types import FrameType

from dtrfast.assembly import open_store
from dtrfast.config import Config
from dtrfast.errors import DtrfastError, StartRefused
from dtrfast.jobs import housekeeper, lifeline, recording
from dtrfast.jobs.board import Board
from dtrfast.jobs.jobs import registry_jobs
from dtrfast.jobs.log import configure
from dtrfast.jobs.tasks import housekeeping
from dtrfast.logs.keeper import LogKeeper
from dtrfast.machine.paths import Layout

log = logging.getLogger("dtrfast.housekeeper")


class _Ending:
    """Knows when this process has to stop: SIGTERM came, or the supervisor is gone.

    A signal writes to a pipe, so that one `select` waits for both and misses neither.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        signal.signal(signal.SIGTERM, self._signalled)
        # The kernel may give the signal to any thread, and this one would sleep on.
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        """What woke the pipe was all there is to do."""

    def wait(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._read, lifeline.DESCRIPTOR], [], [], seconds)
        return bool(ready)


def main() -> int:
    """Keep house until told to stop. Returns the exit status."""
    start, config = lifeline.receive()
    keeper = LogKeeper(Layout(config.store.data).server_log, start.name)
    configure(config.log, start.name, keeper)
    ending = _Ending()
    lifeline.allow_signals()
    try:
        return _try(config, ending)
    finally:
        keeper.close()


def _try(config: Config, ending: _Ending) -> int:
    try:
        _keep(config, ending)
    except StartRefused as error:
        log.error("%s", error)
        return lifeline.EXIT_REFUSED
    except DtrfastError as error:  # may be over when the supervisor tries again
        log.error("%s", error)
        return 1
    return 0


def _keep(config: Config, ending: _Ending) -> None:
    with ExitStack() as stack:
        store = open_store(config)
        stack.callback(store.close)
        tasks = housekeeping(store, config, stack)
        board = Board(store.engine, registry_jobs(store, config, lambda: int(time.time())))
        beside = partial(recording.recorded, store, config, "housekeeper")
        housekeeper.keep(tasks, config.store.data, ending.wait, board, beside)


if __name__ == "__main__":
    sys.exit(main())

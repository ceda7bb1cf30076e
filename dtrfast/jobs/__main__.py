"""The housekeeper's process. Run by the supervisor."""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
from contextlib import ExitStack
from types import FrameType

from dtrfast.config import Config
from dtrfast.errors import DtrfastError, StartRefused
from dtrfast.jobs import housekeeper, lifeline
from dtrfast.jobs.log import configure
from dtrfast.jobs.tasks import registry_tasks
from dtrfast.store.store import Store

log = logging.getLogger("dtrfast.housekeeper")


class _Ending:
    """Knows when this process has to stop: SIGTERM came, or the supervisor is gone.

    A signal writes to a pipe, so that one `select` waits for both and misses neither.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        signal.signal(signal.SIGTERM, self._signalled)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        os.write(self._write, b"x")

    def wait(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._read, lifeline.DESCRIPTOR], [], [], seconds)
        return bool(ready)


def main() -> int:
    """Keep house until told to stop. Returns the exit status."""
    start, config = lifeline.receive()
    configure(config.log, start.name)
    ending = _Ending()
    lifeline.allow_signals()
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
        store = Store.open(config.store.data, config.store)
        stack.callback(store.close)
        tasks = [*store.tasks(), *registry_tasks(store, config, stack)]
        housekeeper.keep(tasks, config.store.data, ending.wait)


if __name__ == "__main__":
    sys.exit(main())

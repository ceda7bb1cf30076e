"""The processes of a registry under test: their start, the wait for it, and their end."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from dtrfast.errors import DtrfastError

_START_SECONDS = 120.0
_TICK_SECONDS = 0.02
# The launcher kills a server that takes longer, and then ends itself. The supervisor's own limit,
# for transfers, is `server.graceful_stop_seconds`.
_STOP_SECONDS = 60.0
_KILL_SECONDS = 10.0
# -P: do not import modules from the directory of the tests, such as a `secrets.py`.
_PYTHON = (sys.executable, "-P", "-m")
_ANNOUNCEMENT = re.compile(r"listening on (https?://\S+?), data in")


class ServerFailed(DtrfastError):
    """The registry under test did not start, or did not stop cleanly. The message has its log."""


class ServerProcess:
    """A running `dtrfast serve`, which ends when this process ends."""

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], log_file: Path
    ) -> None:
        """Start it. `log_file` gets all of its output."""
        self._log_file = log_file
        self._environment = dict(environment)
        launcher = [*_PYTHON, "dtrfast.testing.launcher", str(_STOP_SECONDS)]
        with log_file.open("ab") as log:
            self._launcher = subprocess.Popen(
                [*launcher, *_PYTHON, "dtrfast", "serve", *arguments],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def log(self) -> str:
        """Return all output so far."""
        return self._log_file.read_text(encoding="utf-8", errors="replace")

    def wait_for_url(self) -> str:
        """Wait until the server listens, and return its address. Raises `ServerFailed`."""
        for _ in range(int(_START_SECONDS / _TICK_SECONDS)):
            if found := _ANNOUNCEMENT.search(self.log()):
                return found[1]
            if self._launcher.poll() is not None:
                raise ServerFailed(f"the registry did not start:\n{self.log()}")
            time.sleep(_TICK_SECONDS)
        raise ServerFailed(f"the registry did not start in {_START_SECONDS} s:\n{self.log()}")

    def run_command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command of dtrfast, with the settings of the server."""
        return subprocess.run(
            [*_PYTHON, "dtrfast", *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def stop(self) -> None:
        """Stop the server and wait for its end. Raises `ServerFailed` unless it ends with 0."""
        pipe = self._launcher.stdin
        assert pipe is not None
        if not pipe.closed:
            # It is broken if the server has ended by itself.
            with contextlib.suppress(BrokenPipeError), pipe:
                pipe.write(b"\n")
        try:
            code = self._launcher.wait(_STOP_SECONDS + _KILL_SECONDS)
        except subprocess.TimeoutExpired:
            self._launcher.kill()
            raise ServerFailed(f"the registry does not stop:\n{self.log()}") from None
        if code:
            raise ServerFailed(f"the registry ended with the status {code}:\n{self.log()}")


def environment_of(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a server: this process's, without its settings, and `settings`.

    A name in `settings` is `section.field`, as in the settings file.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("DTRFAST_") or name.startswith("DTRFAST_TEST_")
    }
    given = {f"DTRFAST_{name.replace('.', '_').upper()}": text for name, text in settings.items()}
    return {**inherited, **given, "PYTHONUNBUFFERED": "1"}

"""The command `dtrfast`, run in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Return a function that runs `dtrfast ARGUMENTS` from the source tree, with a clean
    environment.
    """
    environ = {name: os.environ[name] for name in os.environ if not name.startswith("DTRFAST_")}
    environ["PYTHONPATH"] = str(Path(__file__).parents[2])

    def run(
        *arguments: str, flags: tuple[str, ...] = (), **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *flags, "-m", "dtrfast", *arguments],
            cwd=tmp_path,
            env={**environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run

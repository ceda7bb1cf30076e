"""A terminal of a fixed width, in place of standard output or standard error."""

from __future__ import annotations

import io
import sys
from typing import Literal

import pytest


class Terminal(io.StringIO):
    """Text that was written to a terminal."""

    def isatty(self) -> bool:
        return True


def opened(
    patch: pytest.MonkeyPatch, columns: int, name: Literal["stdout", "stderr"] = "stdout"
) -> Terminal:
    """Replace a stream of this process with a terminal."""
    terminal = Terminal()
    patch.setattr(sys, name, terminal)
    patch.setenv("COLUMNS", str(columns))
    patch.setenv("TERM", "xterm")
    for variable in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        patch.delenv(variable, raising=False)
    return terminal

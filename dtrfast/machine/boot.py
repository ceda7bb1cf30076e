"""The start of this machine's kernel."""

from __future__ import annotations

from pathlib import Path


def read_boot_id() -> str:
    """A value that changes with each start of the kernel: what was not synced before it is not to
    be trusted.
    """
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()

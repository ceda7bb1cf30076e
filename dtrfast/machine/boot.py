"""The identity of this machine's current boot."""

from __future__ import annotations

from pathlib import Path


def read_boot_id() -> str:
    """Return the kernel's boot id, which changes with each boot.

    Data that was written but not synced in an earlier boot must not be trusted.
    """
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()

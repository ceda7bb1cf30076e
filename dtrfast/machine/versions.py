"""Versions of the software that this process runs."""

from __future__ import annotations

import platform
import sys
from functools import cache
from importlib.metadata import distributions


@cache
def read() -> dict[str, str]:
    """Return the versions of Python, the operating system, and all Python packages."""
    packages = [one.metadata for one in distributions()]
    named = {one["Name"]: one["Version"] for one in packages if one["Name"]}
    return {
        "python": sys.version,
        "system": platform.platform(),
        **{name: named[name] for name in sorted(named)},
    }

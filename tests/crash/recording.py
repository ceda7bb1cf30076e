"""Runs a program under the recorder: builds the library, starts the child, records its marks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
_SOURCES = [str(_HERE / name) for name in ("record.c", "trace.c")]
# Fortified headers define some of the names that the recorder overrides.
_FLAGS = [
    "-std=gnu11",
    "-O1",
    "-fPIC",
    "-shared",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-U_FORTIFY_SOURCE",
]
_RUN_SECONDS_MAX = 60


@dataclass(frozen=True, slots=True)
class Recording:
    """The trace of a program, and the directory as the program left it."""

    trace: Path
    root: Path


def compiler() -> str | None:
    """Return the C compiler's path. The build of the package needs it too."""
    return shutil.which(os.environ.get("CC", "cc"))


def build_recorder(directory: Path) -> Path:
    """Compile the recorder into `directory`; returns the library."""
    return build_library(directory / "record.so", [Path(source) for source in _SOURCES])


def build_library(library: Path, sources: Sequence[Path]) -> Path:
    """Compile a library for LD_PRELOAD."""
    cc = compiler()
    assert cc is not None, "no C compiler"
    subprocess.run([cc, *_FLAGS, "-o", str(library), *map(str, sources)], check=True)
    return library


def record(library: Path, directory: Path, arguments: Sequence[str]) -> Recording:
    """Run Python with `arguments` and the path of an empty root, and record its changes there.

    Creates `directory` for the root and the trace. Raises when the program fails.
    """
    root = directory / "root"
    root.mkdir(parents=True)
    trace = directory / "trace"
    preload = [name for name in (os.environ.get("LD_PRELOAD"), str(library)) if name]
    environment = os.environ | {
        "LD_PRELOAD": ":".join(preload),
        "POWERCUT_TRACE": str(trace),
        "POWERCUT_ROOT": str(root),
        "PYTHONPATH": str(_HERE.parent.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    subprocess.run(
        [sys.executable, *arguments, str(root)],
        env=environment,
        check=True,
        timeout=_RUN_SECONDS_MAX,
    )
    return Recording(trace, root)


def mark(text: str) -> None:
    """Note in the trace, from inside the recorded program, a promise that holds from here on."""
    descriptor = os.open(os.environ["POWERCUT_TRACE"] + ".mark", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)

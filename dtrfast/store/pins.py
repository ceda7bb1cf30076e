"""Pins: a program that reads files by name, such as a backup, keeps them from being unlinked.

A pin is a locked file in `pins/`. A program that takes the pin before it reads the index finds all
files that the index names, until it releases the pin. The kernel releases the pin of a program that
dies. A pin of contents also keeps the rows of all content: the backup reads the holdings first, and
the contents after them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from dtrfast.machine import disk
from dtrfast.machine.paths import Layout

_CONTENTS = ".contents"  # suffix of the name of a pin of contents
SPOOL = ".spool"  # suffix of a directory in which the holder of a pin keeps its files


def hold_contents(data: Path) -> AbstractContextManager[Path]:
    """Pin all contents for the length of the block, which must be short."""
    return hold(data, _CONTENTS)


@contextmanager
def hold(data: Path, suffix: str = "") -> Iterator[Path]:
    """Pin all files of a data directory for the length of the block. Yields the pin's path."""
    layout = Layout(data)
    with disk.reported():
        layout.pins.mkdir(mode=0o700, exist_ok=True)  # private: spools have rows of the index
    while True:
        path = layout.pin(f"{uuid.uuid4()}{suffix}")
        descriptor = disk.create(path)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            break
        os.close(descriptor)  # another process took it for a dead program's and removed it
    try:
        yield path
    finally:
        with suppress(FileNotFoundError):
            path.unlink()
        os.close(descriptor)


def is_held(data: Path) -> bool:
    """Return True if a program holds a pin. Removes the pins of dead programs."""
    layout = Layout(data)
    try:
        names = os.listdir(layout.pins)
    except FileNotFoundError:
        return False
    paths = [layout.pin(name) for name in names]
    locked = [_is_locked(path) for path in paths if path.suffix != SPOOL]
    for path in paths:
        if path.suffix == SPOOL and not path.with_suffix("").exists():
            shutil.rmtree(path, ignore_errors=True)
    return any(locked)


def are_contents_held(data: Path) -> bool:
    """Return True while a pin of contents is held."""
    return any(_is_locked(path) for path in Layout(data).pins.glob(f"*{_CONTENTS}"))


def _is_locked(path: Path) -> bool:
    try:
        descriptor = disk.open_existing(path)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        path.unlink(missing_ok=True)
        return False
    finally:
        os.close(descriptor)

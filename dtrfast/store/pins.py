"""Pins: a program that reads files by name, such as a backup, keeps them from being unlinked.

A pin is a locked file in `pins/`. Whoever takes it before it looks at the index finds all files
that the index names then, until it lets go; the kernel lets go for a program that dies. A pin of
contents keeps the rows of all content as well: who holds what is looked at before them.
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

_CONTENTS = ".contents"  # at the end of the name of a pin of contents
SPOOL = ".spool"  # what the holder of a pin keeps beside it, in a directory


def hold_contents(data: Path) -> AbstractContextManager[Path]:
    """Pin all contents for the length of the block, which is to be short."""
    return hold(data, _CONTENTS)


@contextmanager
def hold(data: Path, suffix: str = "") -> Iterator[Path]:
    """Pin all files of a data directory for the length of the block; gives the pin's path."""
    layout = Layout(data)
    with disk.reported():
        layout.pins.mkdir(mode=0o700, exist_ok=True)  # spools hold what the index holds
    path, descriptor = _lock(layout, suffix)
    try:
        yield path
    finally:
        with suppress(FileNotFoundError):
            path.unlink()
        os.close(descriptor)


def _lock(layout: Layout, suffix: str) -> tuple[Path, int]:
    """A new pin. One that was taken for a dead program's before it was locked does not count."""
    while True:
        path = layout.pin(f"{uuid.uuid4()}{suffix}")
        descriptor = disk.create(path)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)


def is_held(data: Path) -> bool:
    """Whether anybody holds a pin. Pins of dead programs are removed."""
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

"""The file `format` and the directories of a store: created, checked and upgraded."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dtrfast.errors import FormatUnknown
from dtrfast.machine import disk, mounts, privacy
from dtrfast.machine.paths import FIRST_NAMES, Layout
from dtrfast.store.features import ALL, Features

FORMAT = 1
_HEALING = "restore it from a backup"


def prepare(layout: Layout) -> uuid.UUID | None:
    """Create the directories of a store, or check that this version can read the store there.

    Return its UUID, or None for a new store, which `write_format` completes. Raises
    `FormatUnknown`, `FileSystemUnsupported`, `StorageFull`, `StorageFailed`, and `StartRefused` to
    root if another user owns the directory.
    """
    privacy.require_owner(layout.data)
    _make_directory(layout.data.absolute(), privacy.DIRECTORY_MODE)
    mounts.require_local(layout.data)
    with disk.reported():
        if layout.restoring.exists():
            raise FormatUnknown(
                f"{layout.data} is only restored in part: run the same `dtrfast restore` again to"
                " go on"
            )
        is_made = layout.format.exists()
    if is_made:
        store_id = _read_format(layout)
        privacy.keep_private(layout.data)
        return store_id
    make_directories(layout)
    return None


def make_directories(layout: Layout) -> None:
    """Create the directories of a store, which has no file `format` yet.

    Raises `FormatUnknown` if the directory has other files.
    """
    foreign = [
        p.name
        for p in layout.data.iterdir()
        if p.name not in FIRST_NAMES and not p.name.startswith(".")
    ]
    if foreign:
        raise FormatUnknown(
            f"{layout.data} holds other files ({', '.join(sorted(foreign)[:3])}): "
            "name an empty directory"
        )
    files = (layout.blobs, layout.packs)
    with disk.reported():
        for directory in (layout.index, layout.uploads, layout.locks, layout.log, *files):
            directory.mkdir(privacy.DIRECTORY_MODE, exist_ok=True)
        # Directories with a million files are fast enough. There are sixteen of each kind because
        # the kernel locks a directory for each file that is created in it.
        for parent, folders in zip(files, (layout.blob_folders, layout.pack_folders), strict=True):
            for folder in folders.values():
                folder.mkdir(privacy.DIRECTORY_MODE, exist_ok=True)
            disk.sync_directory(parent)
        disk.sync_directory(layout.data)
    privacy.keep_private(layout.data)


def begin_restore(layout: Layout) -> None:
    """Mark an empty or missing directory as being restored, and create its directories.

    Goes on with a directory that is marked already. Raises `FormatUnknown` for any other, and
    `StartRefused` to root if another user owns it.
    """
    privacy.require_owner(layout.data)
    _make_directory(layout.data.absolute(), privacy.DIRECTORY_MODE)
    mounts.require_local(layout.data)
    with disk.reported():
        # A new file system at this place has a directory for its own repairs.
        names = [path.name for path in layout.data.iterdir() if path.name != "lost+found"]
        if not layout.restoring.exists():
            if names:
                raise FormatUnknown(
                    f"{layout.data} is not empty ({', '.join(sorted(names)[:3])}): name an empty"
                    " directory to restore to"
                )
            layout.restoring.touch()
            disk.sync_directory(layout.data)
    make_directories(layout)


def end_restore(layout: Layout, store_id: uuid.UUID) -> None:
    """Complete a restore: the directory is a store from now on."""
    write_format(layout, store_id)
    disk.remove(layout.restoring)
    with disk.reported():
        disk.sync_directory(layout.data)


def _make_directory(path: Path, mode: int = 0o777) -> None:
    """Create the directory and its parents. Each is synced before the next is created."""
    if not path.parent.exists():
        _make_directory(path.parent)
    with disk.reported():
        path.mkdir(mode, exist_ok=True)
        disk.sync_directory(path.parent)


def write_format(layout: Layout, store_id: uuid.UUID) -> None:
    """Write the file `format`, which makes the directory a store.

    Call it last: a directory without the file is created anew. If another process wrote the file
    first, that one stays.
    """
    text = json.dumps(
        {
            "format": FORMAT,
            "store": str(store_id),
            "features": ALL.record(),
            "unsealed": sorted(ALL.unsealed),
        }
    )
    with _written(layout, text) as temporary:
        with suppress(FileExistsError):
            os.link(temporary, layout.format)
        temporary.unlink()


def replace_features(layout: Layout, features: Features) -> None:
    """Write the features that the store has from now on. No other process may be opening it."""
    record = _read_record(layout)
    record["features"] = features.record()
    record["unsealed"] = sorted(features.unsealed)
    with _written(layout, json.dumps(record)) as temporary:
        temporary.rename(layout.format)


@contextmanager
def _written(layout: Layout, text: str) -> Iterator[Path]:
    """A synced file to rename or link to `format` in the block; then the directory is synced."""
    temporary = layout.format.with_name(f".format.{os.getpid()}.{threading.get_ident()}")
    with disk.reported():
        with temporary.open("w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        yield temporary
        disk.sync_directory(layout.data)


def read_features(layout: Layout) -> Features:
    """Return the features of the store. Raises `FormatUnknown`."""
    record = _read_record(layout)
    try:
        return Features.of(record)
    except (ValueError, KeyError, TypeError) as error:
        raise FormatUnknown(f"{layout.format} is damaged: {_HEALING}") from error


def _read_record(layout: Layout) -> dict[str, Any]:
    """Return the JSON object in the file `format`. Raises `FormatUnknown`."""
    try:
        record = json.loads(layout.format.read_bytes())
    except FileNotFoundError as error:
        raise FormatUnknown(
            f"{layout.data} is no data directory of dtrfast: name one with --data"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise FormatUnknown(f"{layout.format} is damaged ({error}): {_HEALING}") from error
    if not isinstance(record, dict):
        raise FormatUnknown(f"{layout.format} is damaged: {_HEALING}")
    return record


def _read_format(layout: Layout) -> uuid.UUID:
    record = _read_record(layout)
    try:
        number, store = int(record["format"]), uuid.UUID(record["store"])
        unknown = Features.of(record).unknown()
    except (ValueError, KeyError, TypeError) as error:
        raise FormatUnknown(f"{layout.format} is damaged: {_HEALING}") from error
    if number > FORMAT or unknown:
        names = f" with {', '.join(unknown)}" if unknown else ""
        raise FormatUnknown(
            f"{layout.data} has format {number}{names}, "
            f"this dtrfast reads up to {FORMAT}: run the newer dtrfast that wrote it, or run"
            " `dtrfast rollback` with that one"
        )
    return store

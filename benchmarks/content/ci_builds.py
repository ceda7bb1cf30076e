"""Successive CI builds of an image, as root file systems in tars.

In each build 1 to 3 % of the files are edited, the files of one package are updated, one file is
added, one is removed, and every file has a new time, as after a fresh checkout. The files are real:
programs and text of this machine.
"""

from __future__ import annotations

import io
import os
import platform
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

# Directories with programs, libraries and text on every machine with Python.
BINARIES = ("/usr/bin", f"/usr/lib/{platform.machine()}-linux-gnu")
TEXT = ("/usr/lib/python3", "/usr/share")
_FILE_SIZE_MAX = 8 << 20
_EDITED_PART = (0.01, 0.03)
# One edit, of a line or of 16 bytes, for so many bytes: in an edited file, and in the files of a
# package with a new version.
_EDIT_SPACING = 40_000
_UPDATE_SPACING = 200
_ELF = b"\x7fELF"
_FIRST_TIME = 1_700_000_000
_BUILD_SECONDS = 3_600


def ci_builds(folder: Path, count: int, size: int) -> tuple[Path, ...]:
    """Make `count` builds of about `size` plain bytes each; return the paths of the tars."""
    source = random.Random(f"builds {count} {size}")
    files = dict(_real_files((*BINARIES, *TEXT), size))
    paths = []
    for number in range(count):
        if number:
            _edit(files, source, number)
        path = folder / f"build-{number}.tar"
        _pack(path, files, _FIRST_TIME + number * _BUILD_SECONDS)
        paths.append(path)
    return tuple(paths)


def file_tar(path: Path, sources: tuple[str, ...], size: int, skipped: int = 0) -> None:
    """Write a tar of about `size` bytes of files below `sources`, behind the first `skipped`."""
    files: dict[str, bytes] = {}
    for name, content in _real_files(sources, size + skipped):
        skipped -= len(content)
        if skipped < 0:
            files[name] = content
    _pack(path, files, _FIRST_TIME)


def _real_files(sources: tuple[str, ...], size: int) -> Iterator[tuple[str, bytes]]:
    """Files of this machine, an equal part from each source."""
    for top in sources:
        left = size // len(sources)
        for parent, folders, names in os.walk(top):
            folders.sort()
            for name in sorted(names):
                path = Path(parent, name)
                if not path.is_file() or path.is_symlink() or left <= 0:
                    continue
                if not 0 < path.stat().st_size <= _FILE_SIZE_MAX:
                    continue
                content = path.read_bytes()
                left -= len(content)
                yield str(path).lstrip("/"), content


def _edit(files: dict[str, bytes], source: random.Random, number: int) -> None:
    names = sorted(files)
    for name in source.sample(names, int(len(names) * source.uniform(*_EDITED_PART))):
        files[name] = _edited(files[name], source, _EDIT_SPACING)
    package = os.path.dirname(source.choice(names))
    for name in names:
        if os.path.dirname(name) == package:
            files[name] = _edited(files[name], source, _UPDATE_SPACING)
    files[f"srv/build-{number}.json"] = source.randbytes(2_000).hex().encode()
    del files[source.choice(names)]


def _edited(content: bytes, source: random.Random, spacing: int) -> bytes:
    """Change a file: add lines to a text, else change scattered bytes and shift the rest."""
    changed = bytearray(content)
    for _ in range(max(1, len(content) // spacing)):
        place = source.randrange(len(changed) + 1)
        if content.startswith(_ELF):
            changed[place : place + 16] = source.randbytes(16)
        else:
            place = changed.find(b"\n", place) + 1
            changed[place:place] = b"# %s\n" % source.randbytes(16).hex().encode()
    if content.startswith(_ELF):
        place = source.randrange(len(changed) + 1)
        changed[place:place] = source.randbytes(64)
    return bytes(changed)


def _pack(path: Path, files: dict[str, bytes], time: int) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(content), time, 0o755
            archive.addfile(entry, io.BytesIO(content))

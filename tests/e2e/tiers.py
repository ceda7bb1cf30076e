"""The gzip tier beside a running registry: its commands, and files whose layers it converts."""

from __future__ import annotations

import json
import random
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from dtrfast.cli.app import run
from tests.e2e.programs import ProgramFailed
from tests.e2e.registry import Registry

_SMALL_COUNT = 400
_SMALL_SIZE_MAX = 6000
_LARGE_SIZE = 100 * 1024
_WORDS_COUNT = 3000


@dataclass(frozen=True, slots=True)
class Conversion:
    """The result of a conversion: layers, their bytes as pushed, and bytes of new chunks."""

    layers: int
    bytes: int
    new_bytes: int


def text_files(seed: int = 1) -> dict[str, bytes]:
    """Return the files of a layer by name: 400 small ones of odd sizes, and one of 100 KiB.

    As gzip they have some 500 KiB, more than the tier's minimum.
    """
    chooser = random.Random(seed)
    letters = b"abcdefghijklmnopqrstuvwxyz_"
    words = [bytes(chooser.choices(letters, k=chooser.randint(2, 12))) for _ in range(_WORDS_COUNT)]
    sizes = [chooser.randint(1, _SMALL_SIZE_MAX) for _ in range(_SMALL_COUNT)]
    files = {f"file{n:03}": _text(chooser, words, size) for n, size in enumerate(sizes)}
    return {"file": _text(chooser, words, _LARGE_SIZE), **files}


def _text(chooser: random.Random, words: list[bytes], size: int) -> bytes:
    return b" ".join(chooser.choices(words, k=size // 2))[:size]


def write_files(files: dict[str, bytes], folder: Path) -> Path:
    """Write the files to a new folder; return it."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def evict(registry: Registry, *names: str) -> Conversion:
    """Convert and evict the layers of repositories, or all; return the result of the conversion.

    Fails if a layer of the tier's minimum or more stays whole.
    """
    converted = _tier(registry, "convert", "--all", *names)
    evicted = _tier(registry, "evict", "--all", *names)
    for result in (converted, evicted):
        assert not result["failed"], result
    # A layer that was evicted before is not converted again.
    assert evicted["layers"] == converted["layers"], (converted, figures(registry))
    return Conversion(converted["layers"], converted["bytes"], converted["newChunksBytes"])


def expand(registry: Registry) -> None:
    """Make all layers files again. Fails if a layer cannot be re-created."""
    expanded = _tier(registry, "expand")
    assert not expanded["failed"], expanded


def states(registry: Registry) -> dict[str, str]:
    """Return the state of each encoder's layers that are not too small for the tier."""
    return {
        one["encoder"]: one["state"] for one in figures(registry) if "smaller" not in one["reason"]
    }


def figures(registry: Registry) -> list[dict[str, Any]]:
    """Return the figures of `dtrfast tier status`."""
    found: list[dict[str, Any]] = _tier(registry, "status")["layers"]
    return found


def verify(registry: Registry) -> None:
    """Re-create and check everything that the registry has. Raises `ProgramFailed` for damage."""
    _run(registry, "verify", "--deep")


def _tier(registry: Registry, *arguments: str) -> Any:
    return json.loads(_run(registry, "tier", *arguments, "--json"))


def _run(registry: Registry, *arguments: str) -> str:
    """Run a command in this process: its imports take longer than its work."""
    command = [*arguments, "--data", str(registry.data)]
    with redirect_stdout(StringIO()) as output, redirect_stderr(output):
        status = run(command)
    if status:
        raise ProgramFailed(f"dtrfast {' '.join(command)}\n{output.getvalue()}")
    return output.getvalue()

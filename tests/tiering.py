"""The gzip tier at work beside other operations, with limits that suit small bodies."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from collections.abc import Iterable
from contextlib import suppress

from dtrfast.errors import StorageFailed
from dtrfast.store.store import Store
from dtrfast.store.tier import candidates, encoding

# Layers of some kilobytes are converted, in several segments.
_SIZE_MIN = 1000
_SEGMENT_SIZE = 65_536


def use_small_limits() -> None:
    """Let this process convert small layers."""
    candidates.SIZE_MIN = _SIZE_MIN
    encoding.SEGMENT_SIZE = _SEGMENT_SIZE


def gzip_layer(files: Iterable[bytes], time: int) -> bytes:
    """Return a layer of these files, as programs on zlib make it. `time` is that of the files."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for number, content in enumerate(files):
            entry = tarfile.TarInfo(f"file{number}")
            entry.size, entry.mtime = len(content), time
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(archive.getvalue(), 6, mtime=0)


def work(store: Store, chance: random.Random) -> int:
    """Do one piece of work of the tier; return the number of layers that it changed.

    A chunk that a conversion shares may be freed meanwhile. Then the conversion fails, and nothing
    refers to what it wrote.
    """
    one = store.tier_run()
    choice = chance.random()
    steps = store.convert_layers(one, None, with_first=True)
    if choice < 0.4:
        steps = one.evict(None, pushed_before=None)
    elif choice < 0.5:
        steps = store.expand_layers(one)
    with suppress(StorageFailed):
        for _ in steps:
            if chance.random() < 0.05:
                break
    steps.close()  # type: ignore[attr-defined]
    # A test of faults lets reads of the disk fail.
    wrong = [why for _, why in one.result.failed if "disk operation failed" not in why]
    assert wrong == []
    return one.result.layers

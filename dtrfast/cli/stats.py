"""`dtrfast stats`: the contents of a data directory in numbers. Works beside a running server."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from dtrfast.cli.opening import opened
from dtrfast.cli.options import ConfigFile, Data
from dtrfast.cli.output import say
from dtrfast.config import Config, load
from dtrfast.machine import privacy
from dtrfast.registry.registry import Registry


def stats(
    *,
    config: ConfigFile = None,
    data: Data = None,
    json: Annotated[bool, Parameter(help="Print a JSON object.", negative="")] = False,
) -> None:
    """Show the size of the stored data, and the size that sharing saves."""
    settings = load(config, os.environ, {"store.data": data})
    numbers = _read(settings)
    if json:
        sys.stdout.write(msgspec.json.encode(numbers).decode() + "\n")
    else:
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column()
        table.add_column(justify="right")
        for name, value in numbers.items():
            text = human(value) if name.endswith("_bytes") else f"{value:,}"
            table.add_row(name.removesuffix("_bytes").replace("_", " "), text)
        Console().print(table)
        for problem in privacy.exposures(settings.store.data):
            say(problem)


def _read(config: Config) -> Mapping[str, int]:
    with opened(config) as store:
        held = store.statistics()
        named = Registry(store.engine, store.blobs, config).statistics()
        index_size = store.index_size()
    return {
        "repositories": named.repositories,
        "tags": named.tags,
        "manifests": named.manifests,
        "blobs": held.blobs,
        "inline_blobs": held.inline_blobs,
        "loose_blobs": held.loose_blobs,
        "chunked_blobs": held.chunked_blobs,
        "chunks": held.chunks,
        "packs": held.packs,
        "logical_bytes": named.linked_bytes,
        "stored_bytes": held.stored_bytes,
        "shared_bytes": named.shared_bytes(held.stored_bytes),
        "index_bytes": index_size,
        "freed_bytes": held.freed_bytes,
        "damaged_blobs": held.damaged_blobs,
        "damaged_chunks": held.damaged_chunks,
    }


def human(size: float) -> str:
    """Return a size in bytes as text, with three significant digits and a binary unit."""
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        del units[0]
    return f"{size:.0f} {units[0]}" if size >= 100 else f"{size:.3g} {units[0]}"

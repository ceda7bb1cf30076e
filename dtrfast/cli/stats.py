"""`dtrfast stats`: the contents of a data directory in numbers. Works beside a running server."""

from __future__ import annotations

import os
from collections.abc import Mapping

from dtrfast.cli.opening import opened
from dtrfast.cli.options import ConfigFile, Data, Json
from dtrfast.cli.output import remark, show_json
from dtrfast.cli.tables import write_figures
from dtrfast.config import Config, load
from dtrfast.machine import privacy
from dtrfast.registry.registry import Registry


def stats(
    *,
    config: ConfigFile = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Show the size of the stored data, and the bytes that sharing and compression save."""
    settings = load(config, os.environ, {"store.data": data})
    numbers = _read(settings)
    if json:
        show_json(numbers)
        return
    write_figures({name.replace("_", " "): value for name, value in numbers.items()})
    for problem in privacy.exposures(settings.store.data):
        remark(problem)


def _read(config: Config) -> Mapping[str, int]:
    with opened(config) as store:
        held = store.statistics()
        named = Registry(store.engine, store.blobs, config).statistics()
        index_size = store.index_size()
    saved = held.savings(named.linked_bytes)
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
        "equal_blobs_bytes": saved.equal_blobs_bytes,
        "equal_chunks_bytes": saved.equal_chunks_bytes,
        "compression_bytes": saved.compression_bytes,
        "overhead_bytes": saved.overhead_bytes,
        "index_bytes": index_size,
        "freed_bytes": held.freed_bytes,
        "damaged_blobs": held.damaged_blobs,
        "damaged_chunks": held.damaged_chunks,
    }

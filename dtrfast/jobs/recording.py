"""Metrics of the housekeeper's process, and the history of the metrics of all processes.

Only the process that holds the housekeeper's lock may use this: the history has one writer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from dtrfast.config import Config
from dtrfast.machine.paths import Layout
from dtrfast.metrics.processes import Reporter
from dtrfast.metrics.recorder import Recorder, RecorderThread
from dtrfast.registry.registry import Registry
from dtrfast.store.store import Store

STORE_COLUMNS = (
    "logical_bytes",
    "stored_bytes",
    "blobs",
    "repositories",
    "manifests",
    "tags",
    "equal_blobs_bytes",
    "equal_chunks_bytes",
    "compression_bytes",
)


@contextmanager
def recorded(store: Store, config: Config, name: str = "") -> Iterator[None]:
    """Write the history of metrics during the block. With `name` the process also reports its own
    metrics under that name.
    """
    directory = Layout(config.store.data).metrics
    with ExitStack() as stack:
        if name:
            reporter = Reporter(
                directory, name, commits=store.commits, blobs=store.blob_counts.totals
            )
            stack.callback(reporter.close)
        registry = Registry(store.engine, store.blobs, config)
        recorder = Recorder(
            directory, config.store.data, STORE_COLUMNS, lambda: _figures(store, registry)
        )
        stack.callback(RecorderThread(recorder).close)
        yield


def _figures(store: Store, registry: Registry) -> Mapping[str, float]:
    stored, counts = store.statistics(), registry.statistics()
    savings = stored.savings(counts.linked_bytes)
    return {
        "logical_bytes": counts.linked_bytes,
        "stored_bytes": stored.stored_bytes,
        "blobs": stored.blobs,
        "repositories": counts.repositories,
        "manifests": counts.manifests,
        "tags": counts.tags,
        "equal_blobs_bytes": savings.equal_blobs_bytes,
        "equal_chunks_bytes": savings.equal_chunks_bytes,
        "compression_bytes": savings.compression_bytes,
    }

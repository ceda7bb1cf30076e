"""Metrics of the process that keeps house, which also keeps the courses of all of them.

For who holds the housekeeper's lock: a course has one writer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from dtrfast.config import Config
from dtrfast.machine.paths import Layout
from dtrfast.metrics.processes import Reporter
from dtrfast.metrics.recorder import Recorder, Recording
from dtrfast.registry import statistics
from dtrfast.store.store import Store

STORE_COLUMNS = ("logical_bytes", "stored_bytes", "blobs", "repositories", "manifests", "tags")


@contextmanager
def recorded(store: Store, config: Config, name: str = "") -> Iterator[None]:
    """Report this process under a name, if it has one of its own, and keep the courses."""
    directory = Layout(config.store.data).metrics
    with ExitStack() as stack:
        if name:
            reporter = Reporter(
                directory, name, commits=store.commits, blobs=store.blob_counts.totals
            )
            stack.callback(reporter.close)
        data = config.store.data
        recorder = Recorder(directory, data, STORE_COLUMNS, lambda: _figures(store))
        stack.callback(Recording(recorder).close)
        yield


def _figures(store: Store) -> Mapping[str, float]:
    stored = store.statistics()
    with store.engine.read() as transaction:
        counts = statistics.read(transaction)
    return {
        "logical_bytes": counts.linked_bytes,
        "stored_bytes": stored.stored_bytes,
        "blobs": stored.blobs,
        "repositories": counts.repositories,
        "manifests": counts.manifests,
        "tags": counts.tags,
    }

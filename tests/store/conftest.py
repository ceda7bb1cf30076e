"""A real store in a temporary directory, with a clock that tests set."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtrfast.config import StoreConfig
from dtrfast.oci.digests import Digest
from dtrfast.store.blobs import BlobReader, BlobStore
from dtrfast.store.store import Store
from dtrfast.store.tasks import Task
from tests import twice
from tests.fakes.clock import Clock
from tests.store import holders
from tests.store.holders import ONE


@pytest.fixture(autouse=True)
def _each_change_runs_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    twice.install(monkeypatch)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    store = Store.open(tmp_path / "data", StoreConfig(), clock=clock)
    yield store
    store.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data directory of `store`."""
    return tmp_path / "data"


def digest_of(body: bytes, algorithm: str = "sha256") -> Digest:
    return Digest.parse(f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}")


def push(blobs: BlobStore, body: bytes, holder: str = ONE) -> Digest:
    """Push a blob in one request."""
    upload = blobs.begin("some/name")
    for start in range(0, len(body), 1 << 20):
        upload.append(body[start : start + (1 << 20)])
    digest = digest_of(body)
    holders.commit(blobs, upload, digest, holder)
    upload.release()
    return digest


def read_all(reader: BlobReader) -> bytes:
    with reader:
        return b"".join(
            segment
            if isinstance(segment, bytes)
            else os.pread(segment.descriptor, segment.length, segment.offset)
            for segment in reader
        )


def pull(blobs: BlobStore, digest: Digest) -> bytes:
    return read_all(blobs.open_range(digest))


def tasks(store: Store) -> dict[str, Task]:
    """Return the tasks of the store by name."""
    return {task.name: task for task in store.tasks(holders.holders(store.blobs).are_held)}


def run(store: Store, name: str) -> object:
    """Run one step of a task. Before unlinked contents, release what lost its last holder."""
    released = holders.release(store.blobs) if name == "unlinked contents" else 0
    count = tasks(store)[name].run()
    return released + count if isinstance(count, int) else count


def keep_house(store: Store) -> None:
    """Run one step of every task."""
    holders.release(store.blobs)
    for task in tasks(store).values():
        task.run()


def files_below(data: Path, *directories: str) -> list[str]:
    """Return the names of all files in these directories of the data directory."""
    return sorted(
        path.name for name in directories for path in (data / name).rglob("*") if path.is_file()
    )

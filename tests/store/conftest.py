"""A real store in a temporary directory, with a clock that tests turn."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dtrfast.config import StoreConfig
from dtrfast.index.engine import WriteTransaction
from dtrfast.index.lmdb import LmdbEngine
from dtrfast.oci.digests import Digest
from dtrfast.store.blobs import BlobReader, BlobStore, RepositoryId
from dtrfast.store.store import Store
from tests.fakes.clock import Clock

REPOSITORY = RepositoryId(1)
OTHER = RepositoryId(2)


class _TakenBack(Exception):
    pass


@pytest.fixture(autouse=True)
def _each_change_runs_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every change once to be taken back before it counts: it must have no side effects."""
    write = LmdbEngine.write

    def write_twice(self: LmdbEngine, change: Callable[[WriteTransaction], Any]) -> Any:
        def rehearsal(transaction: WriteTransaction) -> None:
            change(transaction)
            raise _TakenBack

        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever the change raises
            write(self, rehearsal)
        if not isinstance(caught.value, _TakenBack):
            raise caught.value
        return write(self, change)

    monkeypatch.setattr(LmdbEngine, "write", write_twice)


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


def push(blobs: BlobStore, body: bytes, repository: RepositoryId = REPOSITORY) -> Digest:
    """Upload and commit in one request."""
    upload = blobs.begin_upload("some/name")
    for start in range(0, len(body), 1 << 20):
        upload.append(body[start : start + (1 << 20)])
    digest = digest_of(body)
    blobs.commit(upload, digest, repository)
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


def pull(blobs: BlobStore, digest: Digest, repository: RepositoryId = REPOSITORY) -> bytes:
    return read_all(blobs.open_range(repository, digest))


def run(store: Store, name: str) -> object:
    """One step of a task."""
    return next(task.run for task in store.tasks() if task.name == name)()


def files_below(data: Path, *directories: str) -> list[str]:
    """Names of all files in these directories of the data directory."""
    return sorted(
        path.name for name in directories for path in (data / name).rglob("*") if path.is_file()
    )

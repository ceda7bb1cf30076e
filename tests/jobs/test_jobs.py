"""The work of each job, on a real store."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from dtrfast.config import Config, StoreConfig
from dtrfast.errors import BlobUnknown
from dtrfast.jobs.definitions import registry_jobs
from dtrfast.store.store import Store
from tests.store.conftest import push
from tests.store.test_scrub import first_byte, spoil


def _run(store: Store, data: Path, name: str) -> list[str]:
    jobs = registry_jobs(store, Config(store=StoreConfig(data=data)), lambda: 2000)
    (job,) = [job for job in jobs if job.name == name]
    return list(job.steps())


def test_a_check_marks_the_blobs_whose_chunks_are_damaged(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "data", StoreConfig())
    try:
        digest = push(store.blobs, random.Random(2).randbytes(900_000))
        assert _run(store, tmp_path / "data", "check")[-1].endswith("nothing is damaged")
        spoil(tmp_path / "data", first_byte(store))
        assert "1 blobs and 1 chunks are damaged" in _run(store, tmp_path / "data", "check")[-1]
        with pytest.raises(BlobUnknown):
            store.blobs.peek(digest)
    finally:
        store.close()

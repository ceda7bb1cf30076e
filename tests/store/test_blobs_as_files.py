"""The second blob store, for tests of the registry, passes the contract."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtrfast.errors import UploadBusy
from dtrfast.oci.digests import Digest
from tests.blobs_as_files import FileBlobs
from tests.fakes.clock import Clock
from tests.store.blob_contract import NAME, BlobContract, begin_saved
from tests.store.fill_contract import FillContract
from tests.store.holders import commit

pytestmark = pytest.mark.long

_MEMORY = Path("/dev/shm")


@pytest.fixture
def blobs(clock: Clock) -> Iterator[FileBlobs]:
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.exists() else None) as folder:
        yield FileBlobs(Path(folder), clock)


class TestFileBlobs(BlobContract, FillContract):
    pass


@pytest.fixture
def other(blobs: FileBlobs) -> FileBlobs:
    """The store of another process, which has its own descriptors of all files."""
    return FileBlobs(blobs.root, blobs.clock)


def test_an_upload_goes_on_in_another_process(blobs: FileBlobs, other: FileBlobs) -> None:
    upload = other.resume(NAME, begin_saved(blobs, b"begun "))
    with pytest.raises(UploadBusy):
        blobs.resume(NAME, upload.id, 0)
    upload.append(b"and ended")
    upload.release()
    digest = Digest.of_bytes(b"begun and ended")
    commit(blobs, blobs.resume(NAME, upload.id), digest)
    assert other.finished(NAME, upload.id) == digest
    assert other.content(digest) == b"begun and ended"


def test_a_holder_hears_of_recalls_of_its_upload_alone(blobs: FileBlobs, other: FileBlobs) -> None:
    upload, number = blobs.begin(NAME), other.recalls
    other.recall(NAME, begin_saved(blobs))
    assert blobs.recalls != number
    assert not upload.is_recalled()
    other.recall(NAME, upload.id)
    assert upload.is_recalled()
    upload.release()
    assert not blobs.resume(NAME, upload.id).is_recalled()


@pytest.mark.parametrize("bytes_after", [0, 1])
def test_an_offset_told_by_another_process_counts_until_more_bytes_come(
    blobs: FileBlobs, other: FileBlobs, bytes_after: int
) -> None:
    upload = blobs.begin(NAME)
    upload.begin_body(0, 100)
    upload.append(b"ten bytes.")
    upload.save()
    assert other.upload_offset(NAME, upload.id) == 10
    upload.append(b"x" * bytes_after)
    upload.release()
    last = other.resume(NAME, upload.id).last_body
    assert (last.is_open, last.is_told) == (True, bytes_after == 0)


def test_a_holder_that_dies_lets_go(blobs: FileBlobs, other: FileBlobs) -> None:
    upload_id = begin_saved(blobs, b"saved")
    child = os.fork()
    if child == 0:
        try:
            other.resume(NAME, upload_id).append(b" and lost")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert blobs.resume(NAME, upload_id, 0).content == b"saved"

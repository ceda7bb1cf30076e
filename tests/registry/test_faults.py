"""Each step of a push and of a release fails once: nothing is lost, and the next try succeeds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dtrfast.config import Config, StoreConfig
from dtrfast.errors import BlobUnknown, StorageFailed, UploadUnknown
from dtrfast.index.engine import Engine
from dtrfast.index.tables import BLOBS_UNHELD
from dtrfast.oci.digests import Digest
from dtrfast.oci.names import RepositoryName
from dtrfast.registry.registry import Registry
from dtrfast.store.blobs import BlobStore, Extent, Upload
from dtrfast.store.store import Store
from tests.blobs_as_files import FileBlobs
from tests.fakes.blobs import MemoryBlobs
from tests.fakes.clock import Clock
from tests.fakes.engine import MemoryEngine
from tests.fakes.faulty_blobs import FaultyBlobs, Method

NAME = RepositoryName("team/app")
CONTENTS = {
    "inline": b"small",
    "chunked": bytes(range(256)) * 99,
    "loose": b"\x1f\x8b" + bytes(9999),
}
COMMIT: list[Method] = ["commit"]
# Depending on the store, its change is a part of the link's commit, or is settled before it.
WRITE: list[Method] = ["pending", "settle"]


@dataclass
class Bench:
    """A registry over a store that fails on demand."""

    engine: Engine
    blobs: FaultyBlobs
    registry: Registry

    def begin(self, content: bytes) -> Upload:
        upload = self.registry.uploads.begin(NAME)
        upload.append(content)
        return upload

    def finish(self, upload: Upload, content: bytes) -> Digest:
        digest = Digest.of_bytes(content)
        try:
            self.registry.uploads.finish(upload, NAME, digest, self.registry.author())
        finally:
            upload.release()
        return digest

    def read(self, digest: Digest) -> bytes:
        with self.registry.blobs.open_range(NAME, digest) as reader:
            return b"".join(
                os.pread(one.descriptor, one.length, one.offset) if isinstance(one, Extent) else one
                for one in reader
            )

    def unheld(self) -> int:
        with self.engine.read() as transaction:
            return sum(1 for _ in transaction.scan(BLOBS_UNHELD))

    def fail(self, *methods: Method, call: int = 1, is_after: bool = False) -> None:
        for method in methods:
            error = StorageFailed(f"{method} failed")
            self.blobs.fail(method, error, call=call, is_after=is_after)


@pytest.fixture(params=["fake", "files", "local"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Bench]:
    engine: Engine = MemoryEngine()
    blobs: BlobStore = MemoryBlobs(clock)
    store: Store | None = None
    if request.param == "files":
        blobs = FileBlobs(tmp_path / "files", clock)
    if request.param == "local":
        store = Store.open(tmp_path / "data", StoreConfig(), clock=clock)
        engine, blobs = store.engine, store.blobs
    faulty = FaultyBlobs(blobs)
    yield Bench(engine, faulty, Registry(engine, faulty, Config(), clock=clock))
    if store is not None:
        store.close()


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("steps", [COMMIT, WRITE])
@pytest.mark.parametrize("kind", CONTENTS)
def test_a_push_that_fails_before_its_link_can_be_closed_again(
    bench: Bench, kind: str, steps: list[Method], is_after: bool
) -> None:
    content = CONTENTS[kind]
    digest = Digest.of_bytes(content)
    upload = bench.begin(content)
    bench.fail(*steps, is_after=is_after)
    with pytest.raises(StorageFailed):
        bench.finish(upload, content)
    with pytest.raises(BlobUnknown):
        bench.registry.blobs.stat(NAME, digest)
    assert bench.registry.statistics().repositories == 0
    bench.finish(bench.registry.uploads.resume(NAME, upload.id), content)
    assert bench.read(digest) == content
    assert bench.registry.uploads.finished(NAME, upload.id) == digest


@pytest.mark.parametrize("is_after", [False, True])
def test_a_link_to_known_content_that_fails_leaves_the_upload(bench: Bench, is_after: bool) -> None:
    content = CONTENTS["chunked"]
    digest = bench.finish(bench.begin(content), content)
    upload = bench.begin(content)
    bench.fail(*WRITE, is_after=is_after)
    with pytest.raises(StorageFailed):
        bench.finish(upload, content)
    bench.finish(bench.registry.uploads.resume(NAME, upload.id), content)
    assert bench.read(digest) == content


@pytest.mark.parametrize(
    ("step", "is_after"), [("finish", False), ("finish", True), ("close", True)]
)
def test_a_push_that_fails_behind_its_link_holds_the_blob(
    bench: Bench, step: Method, is_after: bool
) -> None:
    content = CONTENTS["chunked"]
    digest = Digest.of_bytes(content)
    upload = bench.begin(content)
    bench.fail(step, is_after=is_after)
    with pytest.raises(StorageFailed):
        bench.finish(upload, content)
    assert bench.read(digest) == content
    # The API accepts the closing PUT a second time.
    try:
        bench.finish(bench.registry.uploads.resume(NAME, upload.id), content)
    except UploadUnknown:
        assert bench.registry.uploads.finished(NAME, upload.id) == digest
    assert bench.read(digest) == content


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_release_that_fails_half_way_goes_on(bench: Bench, call: int, is_after: bool) -> None:
    contents = [b"%d" % n for n in range(3)]
    digests = [bench.finish(bench.begin(content), content) for content in contents]
    for digest in digests:
        bench.registry.blobs.delete(NAME, digest, bench.registry.author())
    assert bench.unheld() == 3
    bench.fail("release", call=call, is_after=is_after)
    with pytest.raises(StorageFailed):
        bench.registry.holdings.drop_unheld(200)
    assert bench.unheld() == 3, "the failure does not tell which are freed"
    # A blob is pushed again before the next try, which must keep it whether it was freed or not.
    back = contents[call - 1]
    bench.finish(bench.begin(back), back)
    bench.registry.holdings.drop_unheld(200)
    assert bench.unheld() == 0
    for digest, content in zip(digests, contents, strict=True):
        if content == back:
            assert bench.read(digest) == content
        else:
            with pytest.raises(BlobUnknown):
                bench.blobs.inner.stat(digest)

"""The contract of `Upload.append_from` of every `BlobStore`. Used as `blob_contract` is."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import pytest

from dtrfast.oci.digests import Digest
from dtrfast.store.blobs import FILL_SIZE_MIN, BlobStore
from tests.store.blob_contract import (
    CONTENTS,
    NAME,
    begin_saved,
    random_bytes,
    read,
)
from tests.store.holders import commit


def source(content: bytes, sizes: Iterable[int]) -> Callable[[memoryview], int]:
    """Return a `fill` that gives out `content` in pieces of these sizes, then returns 0."""
    left = memoryview(content)
    size = iter(sizes)

    def fill(view: memoryview) -> int:
        nonlocal left
        count = min(len(left), len(view), next(size))
        view[:count] = left[:count]
        left = left[count:]
        return count

    return fill


class FillContract:
    """The tests. The fixtures come from the subclass."""

    @pytest.mark.parametrize("kind", CONTENTS)
    @pytest.mark.parametrize("size", [1 << 20, 65_536, 10_007])
    def test_filled_bytes_come_back(self, blobs: BlobStore, kind: str, size: int) -> None:
        content = CONTENTS[kind]
        upload = blobs.begin(NAME)
        assert upload.append_from(source(content, repeat(size))) == len(content)
        assert upload.offset == len(content)
        digest = Digest.of_bytes(content)
        commit(blobs, upload, digest)
        assert read(blobs, digest) == content

    def test_there_is_room_to_fill(self, blobs: BlobStore) -> None:
        content = random_bytes(900_000)
        rooms: list[int] = []
        fill = source(content, repeat(33_333))

        def measured(view: memoryview) -> int:
            assert not view.readonly
            assert view.contiguous
            assert view.nbytes == len(view)
            rooms.append(len(view))
            return fill(view)

        upload = blobs.begin(NAME)
        upload.append_from(measured)
        assert min(rooms) >= FILL_SIZE_MIN
        upload.cancel()

    def test_nothing_to_fill(self, blobs: BlobStore) -> None:
        upload = blobs.begin(NAME)
        assert upload.append_from(lambda view: 0) == 0
        assert upload.offset == 0
        commit(blobs, upload, Digest.of_bytes(b""))

    @pytest.mark.parametrize("kind", ["json", "many chunks", "gzip", "text"])
    @pytest.mark.parametrize("seed", range(3))
    def test_filled_and_given_bytes_take_turns(
        self, blobs: BlobStore, kind: str, seed: int
    ) -> None:
        content = CONTENTS[kind]
        generator = random.Random(seed)
        upload = blobs.begin(NAME)
        while (offset := upload.offset) < len(content):
            end = offset + generator.choice([1, 4000, 70_000, 300_000, 1_500_000])
            match generator.randrange(4):
                case 0:
                    upload.append(content[offset:end])
                case 1:
                    upload.save()
                case 2:
                    upload.release()
                    upload = blobs.resume(NAME, upload.id)
                case _:
                    size = generator.choice([1000, 100_000, 1 << 20])
                    upload.append_from(source(content[offset:end], repeat(size)))
        digest = Digest.of_bytes(content)
        commit(blobs, upload, digest)
        assert read(blobs, digest) == content

    @pytest.mark.parametrize("kind", ["longest chunk", "many chunks", "gzip"])
    @pytest.mark.parametrize("fills", [0, 1, 2])
    def test_what_filling_raises_passes_through(
        self, blobs: BlobStore, kind: str, fills: int
    ) -> None:
        content = CONTENTS[kind]
        fill = source(content, repeat(90_000))
        left = fills

        def failing(view: memoryview) -> int:
            nonlocal left
            left -= 1
            if left < 0:
                view[:3] = b"???"
                raise ConnectionResetError("the client is gone")
            return fill(view)

        upload = blobs.begin(NAME)
        with pytest.raises(ConnectionResetError):
            upload.append_from(failing)
        assert upload.offset == min(len(content), fills * 90_000)
        upload.check(Digest.of_bytes(content[: upload.offset]))
        upload.release()
        upload = blobs.resume(NAME, upload.id)
        assert upload.offset == min(len(content), fills * 90_000)
        upload.append_from(source(content[upload.offset :], repeat(90_000)))
        digest = Digest.of_bytes(content)
        commit(blobs, upload, digest)
        assert read(blobs, digest) == content

    def test_truncate_drops_what_was_filled(self, blobs: BlobStore) -> None:
        content = random_bytes(800_000)
        upload = blobs.resume(NAME, begin_saved(blobs, content[:300_000]))
        upload.append_from(source(random_bytes(900_000, seed=2), repeat(100_000)))
        upload.truncate(300_000)
        upload.append_from(source(content[300_000:], repeat(100_000)))
        digest = Digest.of_bytes(content)
        commit(blobs, upload, digest)
        assert read(blobs, digest) == content

    def test_many_uploads_are_filled_at_once(self, blobs: BlobStore) -> None:
        shared = random_bytes(400_000)
        bodies = [shared + random_bytes(900_000, seed=n) for n in range(12)]

        def push_filled(content: bytes) -> Digest:
            upload = blobs.begin(NAME)
            upload.append_from(source(content, repeat(70_000)))
            return commit(blobs, upload, Digest.of_bytes(content)).digest

        with ThreadPoolExecutor(6) as pool:
            digests = list(pool.map(push_filled, bodies))
            assert list(pool.map(lambda d: read(blobs, d), digests)) == bodies

    def test_a_fill_may_fill_another_upload(self, blobs: BlobStore) -> None:
        """A `fill` may push another blob, as a thread that serves many connections does."""
        inner, outer = random_bytes(400_000, seed=3), random_bytes(500_000, seed=4)
        fill = source(outer, repeat(100_000))

        def nested(view: memoryview) -> int:
            count = fill(view)
            other = blobs.begin(NAME)
            other.append_from(source(inner, repeat(130_000)))
            commit(blobs, other, Digest.of_bytes(inner))
            return count

        upload = blobs.begin(NAME)
        upload.append_from(nested)
        commit(blobs, upload, Digest.of_bytes(outer))
        assert read(blobs, Digest.of_bytes(outer)) == outer
        assert read(blobs, Digest.of_bytes(inner)) == inner

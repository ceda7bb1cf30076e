"""The contract of every `BlobStore`. `fill_contract` is the second part.

Subclasses provide the fixtures `blobs` (an empty store) and `clock` (its time, movable).
"""

from __future__ import annotations

import gzip
import os
import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from dtrfast.errors import BlobUnknown, DigestInvalid, UploadBusy, UploadUnknown
from dtrfast.oci.digests import Algorithm, Digest
from dtrfast.store.blobs import BlobStat, BlobStore, Extent, Upload
from tests.fakes.clock import Clock
from tests.store.holders import ONE, OTHER, commit, drop, holders, release

NAME = "team/app"
INLINE = 8192


def random_bytes(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def contents() -> dict[str, bytes]:
    """Return bytes of every kind that a store may treat differently."""
    text = b"".join(b"line %d of a text that compresses\n" % n for n in range(60_000))
    return {
        "empty": b"",
        "one byte": b"x",
        "json": b"{}",
        "inline less one": random_bytes(INLINE - 1),
        "inline": random_bytes(INLINE),
        "inline and one": random_bytes(INLINE + 1),
        "one chunk": random_bytes(100_000),
        "longest chunk": random_bytes(256 * 1024),
        "longest chunk and one": random_bytes(256 * 1024 + 1),
        "many chunks": random_bytes(3_000_000),
        "zeros": bytes(2_000_000),
        "text": text,
        "the same twice": random_bytes(700_000) * 2,
        "short gzip": b"\x1f\x8b" + random_bytes(100),
        "gzip": gzip.compress(random_bytes(1_500_000), 1),
        "gzip of a usual level": gzip.compress(text, 6, mtime=0),
        "only the magic of gzip": b"\x1f\x8b",
        "zstd": b"\x28\xb5\x2f\xfd" + random_bytes(500_000),
    }


CONTENTS = contents()


def push(
    blobs: BlobStore,
    content: bytes,
    *,
    holder: str = ONE,
    algorithm: Algorithm = "sha256",
    piece: int = 1 << 20,
) -> Digest:
    digest = Digest.of_bytes(content, algorithm)
    upload = blobs.begin(NAME)
    append(upload, content, piece)
    assert commit(blobs, upload, digest, holder).size == len(content)
    return digest


def append(upload: Upload, content: bytes, piece: int = 1 << 20) -> None:
    for offset in range(0, len(content), piece):
        upload.append(memoryview(content)[offset : offset + piece])


def read(
    blobs: BlobStore,
    digest: Digest,
    offset: int = 0,
    length: int | None = None,
) -> bytes:
    """Read a range through its segments."""
    received = bytearray()
    with blobs.open_range(digest, offset, length) as reader:
        for segment in reader:
            if isinstance(segment, Extent):
                assert segment.length > 0
                piece = os.pread(segment.descriptor, segment.length, segment.offset)
                assert len(piece) == segment.length
                received += piece
            else:
                received += segment
    return bytes(received)


def begin_saved(blobs: BlobStore, content: bytes = b"") -> str:
    """Begin an upload with `content`, release it, and return its id."""
    upload = blobs.begin(NAME)
    append(upload, content)
    upload.release()
    return upload.id


class BlobContract:
    """The tests. The fixtures come from the subclass."""

    # ---- bytes in, bytes out ------------------------------------------------------------------
    @pytest.mark.parametrize("kind", CONTENTS)
    @pytest.mark.parametrize("piece", [1 << 20, 65_536, 10_007])
    def test_bytes_come_back_as_they_went_in(self, blobs: BlobStore, kind: str, piece: int) -> None:
        content = CONTENTS[kind]
        digest = push(blobs, content, piece=piece)
        assert blobs.stat(digest).size == len(content)
        assert blobs.stat(digest).digest == digest
        assert read(blobs, digest) == content

    @pytest.mark.parametrize("kind", CONTENTS)
    def test_ranges_at_all_kinds_of_offsets(self, blobs: BlobStore, kind: str) -> None:
        content = CONTENTS[kind]
        digest = push(blobs, content)
        size = len(content)
        generator = random.Random(kind)
        edges = {0, 1, 2, 8191, 8192, 8193, 65_536, size // 2, size - 1, size}
        offsets = sorted({e for e in edges if 0 <= e <= size})
        for start, end in [*pairwise(offsets), *((offset, size) for offset in offsets)]:
            assert read(blobs, digest, start, end - start) == content[start:end]
        for _ in range(20):
            start = generator.randint(0, size)
            end = generator.randint(start, size)
            assert read(blobs, digest, start, end - start) == content[start:end]
            assert read(blobs, digest, start) == content[start:]

    def test_an_empty_range(self, blobs: BlobStore) -> None:
        digest = push(blobs, random_bytes(100_000))
        assert read(blobs, digest, 500, 0) == b""
        assert read(blobs, digest, 100_000, 0) == b""

    def test_a_reader_may_be_left_early(self, blobs: BlobStore) -> None:
        digest = push(blobs, CONTENTS["many chunks"])
        reader = blobs.open_range(digest)
        next(iter(reader))
        reader.close()
        reader.close()

    def test_a_reader_that_was_never_read(self, blobs: BlobStore) -> None:
        digest = push(blobs, CONTENTS["many chunks"])
        reader = blobs.open_range(digest)
        assert reader.stat.size == len(CONTENTS["many chunks"])
        reader.close()

    def test_bytes_of_an_open_reader_outlive_a_delete(self, blobs: BlobStore) -> None:
        content = CONTENTS["gzip"]
        digest = push(blobs, content)
        with blobs.open_range(digest) as reader:
            segments = list(reader)
            drop(blobs, digest)
            pieces = [
                os.pread(s.descriptor, s.length, s.offset) if isinstance(s, Extent) else s
                for s in segments
            ]
        assert b"".join(pieces) == content

    def test_buffers_may_be_reused_after_append(self, blobs: BlobStore) -> None:
        content = random_bytes(400_000)
        upload = blobs.begin(NAME)
        buffer = bytearray(1000)
        for offset in range(0, len(content), len(buffer)):
            buffer[:] = content[offset : offset + len(buffer)]
            upload.append(buffer)
        digest = Digest.of_bytes(content)
        commit(blobs, upload, digest)
        assert read(blobs, digest) == content

    def test_an_empty_append(self, blobs: BlobStore) -> None:
        upload = blobs.begin(NAME)
        upload.append(b"")
        assert upload.offset == 0
        commit(blobs, upload, Digest.of_bytes(b""))

    # ---- answers of the index alone -----------------------------------------------------------
    @pytest.mark.parametrize("kind", CONTENTS)
    @pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
    def test_a_peek_tells_what_stat_tells(
        self, blobs: BlobStore, kind: str, algorithm: Algorithm
    ) -> None:
        content = CONTENTS[kind]
        digest = push(blobs, content, algorithm=algorithm)
        peek = blobs.peek(digest)
        assert peek is not None
        assert peek.stat == blobs.stat(digest)
        assert peek.body == (content if len(content) <= INLINE else None)

    def test_a_peek_at_what_is_not_there(self, blobs: BlobStore) -> None:
        with pytest.raises(BlobUnknown):
            blobs.peek(Digest.of_bytes(b"never"))

    # ---- digests ------------------------------------------------------------------------------
    @pytest.mark.parametrize("kind", ["empty", "json", "one chunk", "many chunks", "gzip"])
    @pytest.mark.parametrize("announced", ["sha256", "sha512"])
    @pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
    def test_any_digest_at_the_commit(
        self, blobs: BlobStore, kind: str, announced: str, algorithm: Algorithm
    ) -> None:
        content = CONTENTS[kind]
        upload = blobs.begin(NAME, algorithm=announced)
        append(upload, content)
        digest = Digest.of_bytes(content, algorithm)
        upload.check(digest)
        assert commit(blobs, upload, digest).digest == digest
        assert read(blobs, digest) == content

    @pytest.mark.parametrize("kind", ["json", "one chunk", "many chunks", "gzip"])
    def test_both_digests_of_a_blob(self, blobs: BlobStore, kind: str) -> None:
        content = CONTENTS[kind]
        digests = [push(blobs, content), push(blobs, content, algorithm="sha512")]
        drop(blobs, digests[0])
        assert read(blobs, digests[1]) == content

    @pytest.mark.parametrize("kind", ["empty", "json", "many chunks", "gzip"])
    @pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
    def test_check_tells_a_wrong_digest(
        self, blobs: BlobStore, kind: str, algorithm: Algorithm
    ) -> None:
        content = CONTENTS[kind]
        upload = blobs.begin(NAME)
        append(upload, content)
        with pytest.raises(DigestInvalid):
            upload.check(Digest.of_bytes(content + b"x", algorithm))
        digest = Digest.of_bytes(content, algorithm)
        upload.check(digest)
        commit(blobs, upload, digest)
        assert read(blobs, digest) == content

    def test_check_in_the_middle_of_an_upload(self, blobs: BlobStore) -> None:
        content = random_bytes(700_000)
        upload = blobs.begin(NAME)
        upload.append(content[:300_001])
        upload.check(Digest.of_bytes(content[:300_001]))
        upload.check(Digest.of_bytes(content[:300_001], "sha512"))
        upload.append(content[300_001:])
        digest = Digest.of_bytes(content)
        commit(blobs, upload, digest)
        assert read(blobs, digest) == content

    @pytest.mark.parametrize("kind", ["empty", "json", "many chunks", "gzip"])
    def test_a_commit_with_a_wrong_digest_stores_nothing(self, blobs: BlobStore, kind: str) -> None:
        wrong = Digest.of_bytes(b"something else")
        upload = blobs.begin(NAME)
        append(upload, CONTENTS[kind])
        with pytest.raises(DigestInvalid):
            commit(blobs, upload, wrong)
        upload.release()
        for digest in (wrong, Digest.of_bytes(CONTENTS[kind])):
            with pytest.raises(BlobUnknown):
                blobs.stat(digest)
        with pytest.raises(UploadUnknown):
            blobs.resume(NAME, upload.id)
        assert blobs.finished(NAME, upload.id) is None

    # ---- uploads ------------------------------------------------------------------------------
    def test_an_id_is_a_uuid_and_new_each_time(self, blobs: BlobStore) -> None:
        ids = [begin_saved(blobs) for _ in range(20)]
        assert len(set(ids)) == 20
        assert [str(uuid.UUID(i)) for i in ids] == ids

    def test_an_upload_knows_its_name_and_offset(self, blobs: BlobStore) -> None:
        upload = blobs.begin(NAME)
        assert (upload.label, upload.offset) == (NAME, 0)
        upload.append(b"12345")
        assert upload.offset == 5
        upload.release()
        assert blobs.upload_offset(NAME, upload.id) == 5

    @pytest.mark.parametrize("is_whole", [False, True])
    def test_a_body_that_broke_off_before_its_first_byte_is_the_last_one(
        self, blobs: BlobStore, is_whole: bool
    ) -> None:
        """The client names the start of the body and sends it there again."""
        upload_id = begin_saved(blobs)
        upload = blobs.resume(NAME, upload_id).begin_body(0, None)
        upload.append(b"12345")
        if is_whole:
            upload.end_body()
        upload.release()
        blobs.resume(NAME, upload_id).begin_body(5, None).release()
        last = blobs.last_body(NAME, upload_id)
        assert (last.begin, last.offset, last.is_open) == (5, 5, True)

    @pytest.mark.parametrize("kind", CONTENTS)
    @pytest.mark.parametrize("piece", [3000, 300_000, 1_000_000])
    def test_an_upload_goes_on_across_releases(
        self, blobs: BlobStore, kind: str, piece: int
    ) -> None:
        content = CONTENTS[kind][:2_000_000] if piece > 3000 else CONTENTS[kind][:40_000]
        upload_id = begin_saved(blobs)
        for offset in range(0, len(content), piece):
            upload = blobs.resume(NAME, upload_id)
            assert upload.offset == offset
            append(upload, content[offset : offset + piece], 65_536)
            upload.release()
        upload = blobs.resume(NAME, upload_id)
        digest = Digest.of_bytes(content)
        commit(blobs, upload, digest)
        assert read(blobs, digest) == content

    def test_sha512_across_releases(self, blobs: BlobStore) -> None:
        content = random_bytes(900_000)
        for announced in ("sha256", "sha512"):
            upload = blobs.begin(NAME, algorithm=announced)
            upload.append(content[:500_001])
            upload.release()
            upload = blobs.resume(NAME, upload.id)
            upload.append(content[500_001:])
            digest = Digest.of_bytes(content, "sha512")
            commit(blobs, upload, digest)
            assert read(blobs, digest) == content

    def test_save_between_appends(self, blobs: BlobStore) -> None:
        content = random_bytes(1_200_000)
        upload = blobs.begin(NAME)
        for offset in range(0, len(content), 100_000):
            upload.append(content[offset : offset + 100_000])
            upload.save()
            upload.save()
            assert blobs.upload_offset(NAME, upload.id) == offset + 100_000
        digest = Digest.of_bytes(content)
        commit(blobs, upload, digest)
        assert read(blobs, digest) == content

    def test_one_holder_at_a_time(self, blobs: BlobStore) -> None:
        upload = blobs.begin(NAME)
        with pytest.raises(UploadBusy):
            blobs.resume(NAME, upload.id)
        upload.append(b"abc")
        upload.release()
        resumed = blobs.resume(NAME, upload.id)
        with pytest.raises(UploadBusy):
            blobs.resume(NAME, upload.id)
        resumed.release()
        resumed.release()
        blobs.resume(NAME, upload.id).release()

    def test_release_by_one_holder_does_not_free_the_next(self, blobs: BlobStore) -> None:
        first = blobs.begin(NAME)
        first.release()
        second = blobs.resume(NAME, first.id)
        if second is not first:
            first.release()
            with pytest.raises(UploadBusy):
                blobs.resume(NAME, first.id)
        second.release()

    @pytest.mark.parametrize("before", [0, 5000, 100_000, 1_000_000])
    @pytest.mark.parametrize("during", [0, 1, 4000, 300_000, 1_000_000])
    def test_truncate_drops_what_this_request_appended(
        self, blobs: BlobStore, before: int, during: int
    ) -> None:
        content, dropped = random_bytes(before + 50_000), random_bytes(during, seed=2)
        upload = blobs.resume(NAME, begin_saved(blobs, content[:before]))
        append(upload, dropped)
        upload.truncate(before)
        assert upload.offset == before
        upload.append(content[before:])
        digest = Digest.of_bytes(content)
        commit(blobs, upload, digest)
        assert read(blobs, digest) == content

    def test_truncate_then_release(self, blobs: BlobStore) -> None:
        content = random_bytes(600_000)
        upload_id = begin_saved(blobs, content[:400_000])
        upload = blobs.resume(NAME, upload_id)
        append(upload, random_bytes(500_000, seed=2))
        upload.save()
        upload.truncate(400_000)
        upload.release()
        assert blobs.upload_offset(NAME, upload_id) == 400_000
        upload = blobs.resume(NAME, upload_id)
        upload.append(content[400_000:])
        digest = Digest.of_bytes(content)
        commit(blobs, upload, digest)
        assert read(blobs, digest) == content

    def test_truncate_of_an_upload_that_has_just_begun(self, blobs: BlobStore) -> None:
        upload = blobs.begin(NAME)
        append(upload, random_bytes(500_000))
        upload.truncate(0)
        upload.append(b"\x1f\x8b short")
        commit(blobs, upload, Digest.of_bytes(b"\x1f\x8b short"))

    @pytest.mark.parametrize("size", [0, 5000, 1_000_000])
    def test_cancel_forgets_the_upload(self, blobs: BlobStore, size: int) -> None:
        upload = blobs.resume(NAME, begin_saved(blobs, random_bytes(size)))
        upload.cancel()
        upload.release()
        with pytest.raises(UploadUnknown):
            blobs.resume(NAME, upload.id)
        with pytest.raises(UploadUnknown):
            blobs.upload_offset(NAME, upload.id)
        assert blobs.finished(NAME, upload.id) is None

    @pytest.mark.parametrize(
        "upload_id",
        [
            str(uuid.UUID(int=0)),
            "5f2c9a4e-7d31-4b86-9e0f-1a6b3c8d7e25",
            "",
            "x",
            "../../etc/passwd",
            "é" * 36,
            "\x00",
        ],
    )
    def test_an_unknown_upload(self, blobs: BlobStore, upload_id: str) -> None:
        with pytest.raises(UploadUnknown):
            blobs.resume(NAME, upload_id)
        with pytest.raises(UploadUnknown):
            blobs.upload_offset(NAME, upload_id)
        assert blobs.finished(NAME, upload_id) is None

    def test_an_upload_belongs_to_its_name(self, blobs: BlobStore) -> None:
        upload_id = begin_saved(blobs, b"abc")
        with pytest.raises(UploadUnknown):
            blobs.resume("other/app", upload_id)
        with pytest.raises(UploadUnknown):
            blobs.upload_offset("other/app", upload_id)
        assert blobs.upload_offset(NAME, upload_id) == 3

    # ---- commit -------------------------------------------------------------------------------
    def test_a_committed_upload_is_gone_and_remembered(
        self, blobs: BlobStore, clock: Clock
    ) -> None:
        upload = blobs.begin(NAME)
        upload.append(b"abc")
        digest = Digest.of_bytes(b"abc", "sha512")
        commit(blobs, upload, digest)
        upload.release()
        with pytest.raises(UploadUnknown):
            blobs.resume(NAME, upload.id)
        clock.advance(60)
        assert blobs.finished(NAME, upload.id) == digest
        assert blobs.finished("other/app", upload.id) is None

    @pytest.mark.parametrize("kind", CONTENTS)
    def test_the_same_blob_twice(self, blobs: BlobStore, kind: str) -> None:
        content = CONTENTS[kind]
        digest = push(blobs, content)
        assert push(blobs, content) == digest
        assert push(blobs, content, holder=OTHER) == digest
        assert read(blobs, digest) == content

    @pytest.mark.parametrize("kind", ["json", "many chunks", "gzip", "text"])
    def test_the_same_blob_in_two_uploads_at_once(self, blobs: BlobStore, kind: str) -> None:
        content = CONTENTS[kind]
        with ThreadPoolExecutor(6) as pool:
            names = [f"holder {n % 3}" for n in range(12)]
            digests = list(pool.map(lambda name: push(blobs, content, holder=name), names))
        assert set(digests) == {Digest.of_bytes(content)}
        assert read(blobs, digests[0]) == content

    def test_different_blobs_at_once(self, blobs: BlobStore) -> None:
        shared = random_bytes(400_000)
        bodies = [shared + random_bytes(300_000, seed=n) for n in range(12)]
        with ThreadPoolExecutor(6) as pool:
            digests = list(pool.map(lambda b: push(blobs, b, piece=70_000), bodies))
            assert list(pool.map(lambda d: read(blobs, d), digests)) == bodies

    @pytest.mark.parametrize("kind", ["empty", "json", "many chunks", "gzip"])
    def test_sizes_of_what_is_there(self, blobs: BlobStore, kind: str) -> None:
        digest, never = push(blobs, CONTENTS[kind]), Digest.of_bytes(b"never")
        assert blobs.sizes(iter([never, digest])) == {digest: len(CONTENTS[kind])}
        assert blobs.sizes([]) == {}

    # ---- claims and release -------------------------------------------------------------------
    def test_a_blob_that_never_was(self, blobs: BlobStore) -> None:
        digest = Digest.of_bytes(b"never")
        with pytest.raises(BlobUnknown):
            blobs.stat(digest)
        with pytest.raises(BlobUnknown):
            blobs.open_range(digest)
        assert blobs.release([digest], lambda contents: [False for _ in contents]) == [digest]

    @pytest.mark.parametrize("kind", ["empty", "json", "many chunks", "gzip"])
    def test_what_is_placed_stays_an_upload_until_it_is_finished(
        self, blobs: BlobStore, kind: str
    ) -> None:
        """The link could not be written. Nothing is lost, and the client may repeat the PUT."""
        content, digest = CONTENTS[kind], Digest.of_bytes(CONTENTS[kind])
        upload = blobs.begin(NAME)
        append(upload, content)
        with blobs.commit(upload, digest) as placed:
            assert placed.stat == BlobStat(digest, len(content))
        upload.release()
        commit(blobs, blobs.resume(NAME, upload.id), digest)
        assert read(blobs, digest) == content

    @pytest.mark.parametrize("kind", ["empty", "json", "many chunks", "gzip"])
    def test_what_is_settled_is_found_before_it_is_finished(
        self, blobs: BlobStore, kind: str
    ) -> None:
        content, digest = CONTENTS[kind], Digest.of_bytes(CONTENTS[kind])
        upload = blobs.begin(NAME)
        append(upload, content)
        with blobs.commit(upload, digest) as placed:
            placed.settle()
            placed.settle()
            assert placed.pending is None
            assert read(blobs, digest) == content
            placed.finish()

    @pytest.mark.parametrize("kind", ["empty", "json", "many chunks", "gzip"])
    def test_a_claim_keeps_what_nobody_holds(self, blobs: BlobStore, kind: str) -> None:
        content = CONTENTS[kind]
        digest = push(blobs, content)
        drop(blobs, digest)
        upload = blobs.begin(NAME)
        append(upload, content)
        with blobs.commit(upload, digest) as placed:
            assert release(blobs) == 0, "it is claimed, and looked at again"
            placed.settle()
            placed.finish()
            assert release(blobs) == 0
            assert read(blobs, digest) == content
        assert release(blobs) == 1
        with pytest.raises(BlobUnknown):
            blobs.stat(digest)

    @pytest.mark.parametrize("kind", ["empty", "json", "many chunks", "gzip", "text"])
    def test_release_frees_what_nobody_holds(self, blobs: BlobStore, kind: str) -> None:
        content = CONTENTS[kind]
        digest = push(blobs, content)
        push(blobs, content, holder=OTHER)
        drop(blobs, digest)
        assert release(blobs) == 1
        assert read(blobs, digest) == content
        drop(blobs, digest, OTHER)
        assert read(blobs, digest) == content
        assert release(blobs) == 1
        with pytest.raises(BlobUnknown):
            blobs.open_range(digest)
        assert push(blobs, content) == digest
        assert read(blobs, digest) == content

    @pytest.mark.parametrize("kind", ["json", "many chunks", "gzip"])
    def test_content_is_held_by_any_of_its_names(self, blobs: BlobStore, kind: str) -> None:
        content = CONTENTS[kind]
        digest, other = push(blobs, content), push(blobs, content, algorithm="sha512")
        drop(blobs, digest)
        release(blobs)
        assert read(blobs, other) == content
        drop(blobs, other)
        release(blobs)
        with pytest.raises(BlobUnknown):
            blobs.stat(other)
        with pytest.raises(BlobUnknown):
            blobs.stat(digest)

    @pytest.mark.parametrize("kind", ["json", "many chunks", "gzip"])
    def test_pushes_and_releases_at_once(self, blobs: BlobStore, kind: str) -> None:
        """A client whose push succeeded can read the content until it drops it."""
        content, digest = CONTENTS[kind], Digest.of_bytes(CONTENTS[kind])

        def hold_for_a_moment(name: str) -> None:
            for _ in range(8):
                push(blobs, content, holder=name)
                assert read(blobs, digest) == content
                drop(blobs, digest, name)
                blobs.release([digest], holders(blobs).are_held)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(hold_for_a_moment, ["a", "b", "c", "d"]))

    def test_measure_says_what_is_held_and_what_would_go(self, blobs: BlobStore) -> None:
        one, two = push(blobs, b"abc"), push(blobs, b"defgh")

        def measure(*kept: Digest) -> tuple[int, int, int]:
            usage = blobs.measure(
                [one, two], lambda all: [not {*names}.isdisjoint(kept) for names in all]
            )
            return usage.size, usage.stored, usage.unique

        assert measure() == (8, 8, 8)
        assert measure(two) == (8, 8, 3)
        assert measure(one, two) == (8, 8, 0)

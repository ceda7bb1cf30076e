"""Uploads as a state machine, compared with a dictionary: after all requests the bytes match."""

from __future__ import annotations

import hashlib
import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from dtrfast.config import StoreConfig
from dtrfast.errors import BlobUnknown, DigestInvalid, RangeInvalid, UploadUnknown
from dtrfast.oci.digests import Digest
from dtrfast.store.blobs import Upload
from dtrfast.store.store import Store
from tests.store import holders
from tests.store.conftest import read_all, tasks

NAME = "some/name"
HOLDERS = ["one", "other"]
# Pieces of a common pool share chunks with each other. A few begin like compressed content.
POOL = random.Random(11).randbytes(1 << 20)
SIZES = st.one_of(st.integers(0, 300), st.sampled_from([8191, 8192, 8193]), st.integers(0, 600_000))


def digest_of(body: bytes) -> Digest:
    return Digest("sha256", hashlib.sha256(body).digest())


class Uploads(RuleBasedStateMachine):
    """Each rule is a request. `bodies` models the sessions, and `blobs` the store."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.store = Store.open(self.directory, StoreConfig())
        self.bodies: dict[str, bytes] = {}
        self.begins: dict[str, int] = {}  # the start of a session's last body
        self.blobs: dict[tuple[str, Digest], bytes] = {}

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.directory)

    def resume(self, upload_id: str) -> Upload | None:
        """Return the upload if the model has it, and check that the store agrees."""
        if upload_id in self.bodies:
            upload = self.store.blobs.resume(NAME, upload_id)
            assert upload.offset == len(self.bodies[upload_id])
            return upload
        with pytest.raises(UploadUnknown):
            self.store.blobs.resume(NAME, upload_id)
        return None

    @rule(target=ids, sha512=st.booleans())
    def begin(self, sha512: bool) -> str:
        upload = self.store.blobs.begin(NAME, algorithm="sha512" if sha512 else "sha256")
        upload.release()
        self.bodies[upload.id] = b""
        return upload.id

    @rule(
        upload_id=ids,
        start=st.integers(0, 400_000),
        sizes=st.lists(SIZES, max_size=4),
        gzip=st.booleans(),
        save=st.booleans(),
        again=st.booleans(),
        whole=st.booleans(),
    )
    def append(
        self,
        upload_id: str,
        start: int,
        sizes: list[int],
        gzip: bool,
        save: bool,
        again: bool,
        whole: bool,
    ) -> None:
        """Send a body, or the last one `again`. It is `whole`, or breaks off."""
        upload = self.resume(upload_id)
        if upload is None:
            return
        begin = upload.last_body.begin
        assert begin == self.begins.get(upload_id, len(self.bodies[upload_id]))
        was_open = upload.last_body.is_open
        if again and was_open:
            self.bodies[upload_id] = self.bodies[upload_id][:begin]
        new_begin = len(self.bodies[upload_id])
        upload = upload.begin_body(len(self.bodies[upload_id]), None)
        for size in sizes:
            piece = POOL[start : start + size]
            if gzip and not self.bodies[upload_id]:
                piece = b"\x1f\x8b" + piece
            upload.append(piece)
            self.bodies[upload_id] += piece
            if save:
                upload.save()
        if whole:
            upload.end_body()
        upload.release()
        if was_open or not whole or len(self.bodies[upload_id]) > new_begin:
            self.begins[upload_id] = new_begin  # otherwise the body has no effect
        assert self.store.blobs.last_body(NAME, upload_id).is_open is not whole

    @rule(upload_id=ids, cut=st.integers(0, 3), other=st.booleans(), save=st.booleans())
    def repeat(self, upload_id: str, cut: int, other: bool, save: bool) -> None:
        """Send a body again that was complete: whole, broken off, or with other bytes."""
        upload = self.resume(upload_id)
        if upload is None:
            return
        last = upload.last_body
        if last.is_open or last.begin == last.offset:
            upload.release()
            return
        content = self.bodies[upload_id][last.begin :]
        piece = (content[:-1] + bytes([content[-1] ^ 1]) if other else content)[cut:]
        repeated = upload.begin_body(last.begin, None)
        repeated.append(piece)
        if save:
            repeated.save()
        if piece == content:
            repeated.end_body()
        else:
            with pytest.raises(RangeInvalid) as refused:
                repeated.end_body()
            assert refused.value.offset == len(self.bodies[upload_id])
        repeated.release()
        assert self.store.blobs.last_body(NAME, upload_id).is_open is False

    @rule(upload_id=ids, sizes=st.lists(SIZES, min_size=1, max_size=3), save=st.booleans())
    def take_back(self, upload_id: str, sizes: list[int], save: bool) -> None:
        upload = self.resume(upload_id)
        if upload is None:
            return
        for size in sizes:
            upload.append(POOL[:size])
            if save:
                upload.save()
        upload.truncate(len(self.bodies[upload_id]))
        upload.release()

    @rule(
        upload_id=ids,
        holder=st.sampled_from(HOLDERS),
        size=SIZES,
        anew=st.booleans(),
        meant_anew=st.booleans(),
        broken=st.booleans(),
    )
    def guess(
        self,
        upload_id: str,
        holder: str,
        size: int,
        anew: bool,
        meant_anew: bool,
        broken: bool,
    ) -> None:
        """Send a closing body that is more bytes or the last body again. The guess may be wrong."""
        upload = self.resume(upload_id)
        if upload is None:
            return
        kept = self.bodies[upload_id]
        last, piece = upload.last_body, POOL[7:][:size]
        upload = upload.begin_body(last.begin if anew else last.offset, None, is_guess=True)
        upload.append(piece)
        if broken:
            upload.release()
            is_kept = not anew or last.begin == last.offset
            self.bodies[upload_id] = kept + piece if is_kept else kept
            self.begins[upload_id] = len(kept) if is_kept else last.begin
            return
        body = kept[: last.begin if meant_anew else None] + piece
        digest = digest_of(body)
        assert holders.commit(self.store.blobs, upload, digest, holder).size == len(body)
        assert self.store.blobs.finished(NAME, upload_id) == digest
        del self.bodies[upload_id]
        self.blobs[holder, digest] = body

    @rule(upload_id=ids, holder=st.sampled_from(HOLDERS), in_sha512=st.booleans())
    def commit(self, upload_id: str, holder: str, in_sha512: bool) -> None:
        upload = self.resume(upload_id)
        if upload is None:
            return
        body = self.bodies.pop(upload_id)
        digest = digest_of(body)
        if in_sha512:
            digest = Digest("sha512", hashlib.sha512(body).digest())
        assert holders.commit(self.store.blobs, upload, digest, holder).size == len(body)
        self.blobs[holder, digest] = body

    @rule(upload_id=ids)
    def commit_with_a_wrong_digest(self, upload_id: str) -> None:
        upload = self.resume(upload_id)
        if upload is None:
            return
        body = self.bodies.pop(upload_id)
        with pytest.raises(DigestInvalid):
            self.store.blobs.commit(upload, digest_of(body + b"x"))

    @rule(upload_id=ids)
    def cancel(self, upload_id: str) -> None:
        upload = self.resume(upload_id)
        if upload is not None:
            upload.cancel()
            del self.bodies[upload_id]

    @precondition(lambda self: self.blobs)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        holder, digest = data.draw(st.sampled_from(list(self.blobs)))
        holders.drop(self.store.blobs, digest, holder)
        del self.blobs[holder, digest]

    @precondition(lambda self: self.blobs)
    @rule(data=st.data())
    def link(self, data: st.DataObject) -> None:
        source, digest = data.draw(st.sampled_from(list(self.blobs)))
        for target in HOLDERS:
            holders.link(self.store.blobs, digest, target)
            self.blobs[target, digest] = self.blobs[source, digest]

    @rule()
    def housekeeping(self) -> None:
        holders.release(self.store.blobs)
        for task in tasks(self.store).values():
            task.run()

    @precondition(lambda self: self.blobs)
    @rule(data=st.data(), first=st.floats(0, 1), last=st.floats(0, 1))
    def read_a_range(self, data: st.DataObject, first: float, last: float) -> None:
        holder, digest = data.draw(st.sampled_from(list(self.blobs)))
        body = self.blobs[holder, digest]
        start, end = sorted((int(first * len(body)), int(last * len(body))))
        reader = self.store.blobs.open_range(digest, start, end - start)
        assert read_all(reader) == body[start:end]

    @invariant()
    def what_is_stored_is_what_was_pushed(self) -> None:
        for (_, digest), body in list(self.blobs.items())[-2:]:
            assert read_all(self.store.blobs.open_range(digest)) == body
        with pytest.raises(BlobUnknown):
            self.store.blobs.stat(digest_of(b"never pushed"))


TestUploads = pytest.mark.slow(Uploads.TestCase)
TestUploads.settings = settings(
    max_examples=30,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)

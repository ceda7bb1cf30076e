"""Bounds on a user's open uploads: counting, dropping idle ones, and a killed process."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from dtrfast.errors import UploadsTooMany
from dtrfast.oci.digests import Digest
from dtrfast.store import open_uploads
from dtrfast.store.blobs import OpenBound
from dtrfast.store.local import LocalBlobs
from dtrfast.store.open_uploads import OpenUploads
from dtrfast.store.store import Store
from tests.store.holders import commit

NAME = "acme/app rita"
ANOTHER = "acme/other rita"
BOUND = OpenBound("rita", name_max=3, all_max=5)


def begin(store: Store, name: str = NAME, bound: OpenBound = BOUND) -> str:
    upload = store.blobs.begin(name, bound=bound)
    upload.release()
    return upload.id


def state_path(store: Store, upload_id: str) -> Path:
    return store._context.layout.uploads / f"{upload_id}.state"


def leave_idle(store: Store, upload_id: str, seconds: int) -> None:
    then = store._context.clock() - seconds
    os.utime(state_path(store, upload_id), (then, then))


def is_open(store: Store, upload_id: str) -> bool:
    return state_path(store, upload_id).exists()


def test_a_user_has_so_many_open_uploads_in_a_repository_and_in_all(store: Store) -> None:
    begun = [begin(store) for _ in range(3)]
    with pytest.raises(UploadsTooMany, match="3 uploads to a repository are open"):
        begin(store)
    assert all(is_open(store, one) for one in begun)
    begin(store, ANOTHER)
    begin(store, ANOTHER)
    with pytest.raises(UploadsTooMany, match="5 uploads are open"):
        begin(store, ANOTHER)
    begin(store, NAME, OpenBound("will", 3, 5))


def test_uploads_that_ended_do_not_count(store: Store) -> None:
    for number in range(8):
        upload = store.blobs.begin(NAME, bound=BOUND)
        content = str(number).encode()
        upload.append(content)
        if number % 2:
            upload.cancel()
        else:
            commit(store.blobs, upload, Digest.of_bytes(content))


def test_the_longest_idle_uploads_make_room(store: Store) -> None:
    first, second, third = (begin(store) for _ in range(3))
    leave_idle(store, first, 4000)
    leave_idle(store, second, 5000)
    leave_idle(store, third, 3000)
    begin(store)
    assert [is_open(store, one) for one in (first, second, third)] == [False, False, True]
    begin(store)
    with pytest.raises(UploadsTooMany):
        begin(store)


def test_an_upload_that_a_request_holds_makes_no_room(store: Store) -> None:
    held = store.blobs.begin(NAME, bound=BOUND)
    leave_idle(store, held.id, 5000)
    begin(store)
    begin(store)
    with pytest.raises(UploadsTooMany):
        begin(store)
    held.release()


def test_idle_uploads_of_another_repository_stay(store: Store) -> None:
    other = begin(store, ANOTHER)
    leave_idle(store, other, 5000)
    for _ in range(3):
        begin(store)
    with pytest.raises(UploadsTooMany):
        begin(store)
    assert is_open(store, other)


def test_refusals_of_one_repository_refuse_none_of_another(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_uploads, "_GROWTH", 1)
    monkeypatch.setattr(open_uploads, "_SHORT", 0)
    monkeypatch.setattr(open_uploads, "_PRUNE_SECONDS", 1000)
    bound = OpenBound("rita", 3, 50)
    for _ in range(3):
        begin(store, NAME, bound)
    for _ in range(20):
        with pytest.raises(UploadsTooMany):
            begin(store, NAME, bound)
        store.blobs.begin(ANOTHER, bound=bound).cancel()


def test_parallel_requests_pass_no_bound(store: Store) -> None:
    begun: list[str] = []

    def ask() -> None:
        with suppress(UploadsTooMany):
            begun.append(begin(store))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(begun) == 3


def test_lists_are_short_and_go_with_their_uploads(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_uploads, "_GROWTH", 10)
    bound = OpenBound("rita", 1000, 10_000)
    kept = begin(store, NAME, bound)
    for _ in range(30):
        store.blobs.begin(NAME, bound=bound).cancel()
    (path,) = (store._context.layout.locks / "uploads").iterdir()
    assert path.stat().st_size <= 24 * 13
    assert path.stat().st_mode & 0o777 == 0o600
    old = store._context.clock() - 10_000
    os.utime(path, (old, old))
    assert OpenUploads(store._context).forget_empty() == 0
    store.blobs.resume(NAME, kept).cancel()
    (path,) = path.parent.iterdir()
    os.utime(path, (old, old))
    assert OpenUploads(store._context).forget_empty() == 1
    assert begin(store)


def test_processes_count_together(store: Store) -> None:
    """Each process has lists open that other processes replace."""
    bound = OpenBound("rita", 40, 100)
    many = [LocalBlobs(store._context) for _ in range(3)]
    begun: list[str] = []

    def ask(blobs: LocalBlobs) -> None:
        for number in range(60):
            with suppress(UploadsTooMany):
                upload = blobs.begin(NAME, bound=bound)
                if number % 2:
                    upload.cancel()
                else:
                    upload.release()
                    begun.append(upload.id)

    threads = [threading.Thread(target=ask, args=(blobs,)) for blobs in many]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(begun) == 40
    for one in begun:
        store.blobs.resume(NAME, one).cancel()
    for blobs in many:
        blobs.begin(NAME, bound=bound).release()

"""Write-back starts while bytes come, and waits while too many bytes are on their way to the disk.

It voids an upload whose bytes the disk may have lost.
"""

from __future__ import annotations

import ctypes
import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dtrfast.errors import StorageFailed, StorageFull, UploadUnknown
from dtrfast.machine import bytes_in_flight, disk
from dtrfast.machine.bytes_in_flight import BytesInFlight
from dtrfast.machine.write_back import WriteBack
from dtrfast.store import leftovers, upload_state
from dtrfast.store.blobs import Upload
from dtrfast.store.store import Store
from dtrfast.store.upload_state import parse_upload_id
from tests.store.conftest import digest_of, pull, push
from tests.store.holders import commit

NAME = "some/name"
# Small sizes, for tests.
LIMIT_MIN = 128 << 10
PIECE_SIZE_MIN = 32 << 10
_SIZE = 4 * LIMIT_MIN
_TMPFS, _OVERLAYFS = 0x01021994, 0x794C7630
_MAGICS = {"loose": b"\x1f\x8b", "chunked": b"no"}


@dataclass(slots=True)
class Calls:
    """The calls to the kernel, with the offset and size of pieces."""

    started: list[tuple[int, int]] = field(default_factory=list)
    finished: list[tuple[int, int]] = field(default_factory=list)
    synced: int = 0
    on_way_max: int = 0


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> BytesInFlight:
    """The account of a slow disk, for all files: it allows the fewest bytes on their way."""
    account = BytesInFlight(None)
    monkeypatch.setattr(bytes_in_flight, "LIMIT_MIN", LIMIT_MIN)
    monkeypatch.setattr(bytes_in_flight, "PIECE_SIZE_MIN", PIECE_SIZE_MIN)
    monkeypatch.setattr(bytes_in_flight, "RATE_MAX", 1)
    monkeypatch.setattr(bytes_in_flight, "RATE_UNKNOWN", 1)
    monkeypatch.setattr(bytes_in_flight, "of_device", lambda device: account)
    # On any file system of the tests: where the calls do nothing, the kernel accepts them, too.
    monkeypatch.setattr(disk, "_MEMORY", frozenset())
    monkeypatch.setattr(disk, "_RANGE_SYNC", disk._RANGE_SYNC | {_TMPFS, _OVERLAYFS})
    return account


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, account: BytesInFlight) -> Calls:
    """Real calls, which are recorded."""
    calls = Calls()
    start, finish, sync = disk.start_write_back, disk.finish_write_back, disk.sync_data

    def note_start(descriptor: int, offset: int, size: int) -> bool:
        calls.started.append((offset, size))
        return start(descriptor, offset, size)

    def note_finish(descriptor: int, offset: int, size: int) -> bool:
        calls.on_way_max = max(calls.on_way_max, account.in_flight)
        calls.finished.append((offset, size))
        return finish(descriptor, offset, size)

    def note_sync(descriptor: int) -> None:
        calls.synced += 1
        sync(descriptor)

    monkeypatch.setattr(disk, "start_write_back", note_start)
    monkeypatch.setattr(disk, "finish_write_back", note_finish)
    monkeypatch.setattr(disk, "sync_data", note_sync)
    return calls


def _fill(descriptor: int, size: int, write_back: WriteBack) -> None:
    for offset in range(0, size, PIECE_SIZE_MIN // 2):
        os.pwrite(descriptor, b"x" * min(PIECE_SIZE_MIN // 2, size - offset), offset)
        write_back.note(min(size, offset + PIECE_SIZE_MIN // 2))


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    descriptor = disk.create(tmp_path / "file")
    yield descriptor
    os.close(descriptor)


# ---- one file ---------------------------------------------------------------------------------
def test_each_piece_is_started_while_bytes_come(descriptor: int, calls: Calls) -> None:
    write_back = WriteBack(descriptor)
    _fill(descriptor, _SIZE + 100, write_back)
    count = _SIZE // PIECE_SIZE_MIN
    assert calls.started == [(n * PIECE_SIZE_MIN, PIECE_SIZE_MIN) for n in range(count)]


def test_a_writer_waits_for_its_oldest_piece(
    descriptor: int, calls: Calls, account: BytesInFlight
) -> None:
    write_back = WriteBack(descriptor)
    _fill(descriptor, _SIZE, write_back)
    assert calls.on_way_max == LIMIT_MIN
    assert calls.finished == calls.started[: len(calls.finished)]
    assert account.in_flight == LIMIT_MIN == write_back.started - write_back.on_disk
    write_back.settle()
    assert (account.in_flight, write_back.on_disk) == (0, _SIZE)


def _fail() -> AbstractContextManager[None]:
    raise AssertionError("nothing is due")


def test_a_small_file_costs_no_call(descriptor: int, calls: Calls) -> None:
    write_back = WriteBack(descriptor, doubt=_fail)
    _fill(descriptor, PIECE_SIZE_MIN - 1, write_back)
    write_back.settle()
    write_back.close()
    assert calls == Calls()


def test_a_writer_gets_on_although_others_fill_the_account(
    descriptor: int, calls: Calls, account: BytesInFlight
) -> None:
    account.send(100 * LIMIT_MIN)  # of an upload that receives no bytes
    write_back = WriteBack(descriptor)
    _fill(descriptor, _SIZE, write_back)
    assert write_back.on_disk == _SIZE
    assert calls.on_way_max == 100 * LIMIT_MIN + PIECE_SIZE_MIN


def test_closing_takes_the_bytes_off_the_account(
    descriptor: int, calls: Calls, account: BytesInFlight
) -> None:
    write_back = WriteBack(descriptor)
    _fill(descriptor, LIMIT_MIN, write_back)
    assert account.in_flight == LIMIT_MIN
    for _ in range(2):
        write_back.close()
        assert account.in_flight == 0


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL, errno.EPERM, None])
def test_where_ranges_cannot_be_synced_whole_files_are(
    descriptor: int,
    calls: Calls,
    account: BytesInFlight,
    monkeypatch: pytest.MonkeyPatch,
    number: int | None,
) -> None:
    """Some kernels and sandboxes lack the call, and on some file systems it does nothing."""
    if number is None:
        monkeypatch.setattr(disk, "_RANGE_SYNC", frozenset())
    else:
        _answer(monkeypatch, number)
    write_back = WriteBack(descriptor)
    _fill(descriptor, _SIZE, write_back)
    assert calls.synced >= _SIZE // LIMIT_MIN - 1
    assert account.in_flight <= LIMIT_MIN
    assert len(calls.started) <= 1


def _answer(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let sync_file_range fail with this error."""

    class Libc:
        @staticmethod
        def fstatfs(descriptor: int, status: object) -> int:
            return int(libc.fstatfs(descriptor, status))

        @staticmethod
        def sync_file_range(*arguments: object) -> int:
            ctypes.set_errno(number)
            return -1

    libc = disk._libc
    monkeypatch.setattr(disk, "_libc", Libc)


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EIO, StorageFailed), (errno.ENOSPC, StorageFull)]
)
def test_any_other_error_is_one_of_the_disk(
    descriptor: int,
    account: BytesInFlight,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[Exception],
) -> None:
    _answer(monkeypatch, number)
    with pytest.raises(kind):
        _fill(descriptor, _SIZE, WriteBack(descriptor))


# ---- uploads ----------------------------------------------------------------------------------
_BODY = os.urandom(16 * LIMIT_MIN)


@pytest.fixture(params=["loose", pytest.param("chunked", marks=pytest.mark.long)])
def body(request: pytest.FixtureRequest) -> bytes:
    """Return more bytes than may be on their way."""
    # Chunked bytes are written a buffer at a time.
    return _MAGICS[request.param] + _BODY[: None if request.param == "chunked" else 3 * LIMIT_MIN]


def _fail_once(monkeypatch: pytest.MonkeyPatch, name: str, error: BaseException) -> None:
    """Let `call` fail once. The kernel reports an error of write-back to one call only."""
    real = getattr(disk, name)
    left = [error]

    def call(*arguments: object) -> object:
        if left:
            raise left.pop()
        return real(*arguments)

    monkeypatch.setattr(disk, name, call)


def _append(store: Store, upload_id: str, body: bytes) -> None:
    upload = store.blobs.resume(NAME, upload_id)
    try:
        for offset in range(0, len(body), 1 << 20):
            upload.append(body[offset : offset + (1 << 20)])
    finally:
        upload.release()


def _begin(store: Store) -> str:
    upload = store.blobs.begin(NAME)
    upload.release()
    return upload.id


def _assert_void(store: Store, upload_id: str) -> None:
    with pytest.raises(UploadUnknown):
        store.blobs.upload_offset(NAME, upload_id)
    with pytest.raises(UploadUnknown):
        store.blobs.resume(NAME, upload_id)


@pytest.mark.parametrize("call", ["start_write_back", "finish_write_back"])
def test_an_error_of_early_write_back_voids_the_upload(
    store: Store,
    data: Path,
    account: BytesInFlight,
    monkeypatch: pytest.MonkeyPatch,
    body: bytes,
    call: str,
) -> None:
    upload_id = _begin(store)
    _fail_once(monkeypatch, call, StorageFailed("EIO"))
    with pytest.raises(StorageFailed):
        _append(store, upload_id, body)
    _assert_void(store, upload_id)
    assert [path for path in data.glob("[bpu][lap]*/**/*") if path.is_file()] == []
    assert pull(store.blobs, push(store.blobs, body)) == body


def _append_and_commit(store: Store, upload: Upload, body: bytes) -> None:
    upload.append(body)
    commit(store.blobs, upload, digest_of(body))


class _Killed(BaseException):
    """Stands for SIGKILL: no code of the upload runs after it."""


@pytest.mark.parametrize("call", ["finish_write_back", "sync"])
def test_an_upload_whose_process_was_killed_in_a_sync_is_void(
    store: Store, account: BytesInFlight, monkeypatch: pytest.MonkeyPatch, body: bytes, call: str
) -> None:
    """That process may have been the one that got the error."""
    upload = store.blobs.resume(NAME, _begin(store))
    _fail_once(monkeypatch, call, _Killed())
    with pytest.raises(_Killed):
        _append_and_commit(store, upload, body)
    upload._state_file.close()  # type: ignore[attr-defined]  # as the kernel does
    _assert_void(store, upload.id)
    assert pull(store.blobs, push(store.blobs, body)) == body


def test_an_upload_is_void_even_if_a_failing_disk_lets_nothing_be_removed(
    store: Store, account: BytesInFlight, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    upload_id = _begin(store)
    _append(store, upload_id, body)
    upload = store.blobs.resume(NAME, upload_id)

    def fail(*arguments: object) -> None:
        raise StorageFailed("EIO")

    with monkeypatch.context() as patch:
        patch.setattr(leftovers, "remove_upload", fail)
        _fail_once(patch, "sync", StorageFailed("EIO"))
        with pytest.raises(StorageFailed):
            commit(store.blobs, upload, digest_of(body))
        upload.release()
    _assert_void(store, upload_id)


def test_an_upload_that_failed_cannot_be_taken_back_to_life(
    store: Store, account: BytesInFlight, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    upload = store.blobs.resume(NAME, _begin(store))
    _fail_once(monkeypatch, "finish_write_back", StorageFailed("EIO"))
    with pytest.raises(StorageFailed):
        upload.append(body)
    with pytest.raises(UploadUnknown):
        upload.truncate(0)
    upload.release()
    _assert_void(store, upload.id)


def test_others_see_how_far_an_upload_came_while_it_is_synced(
    store: Store, account: BytesInFlight, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    upload_id = _begin(store)
    _append(store, upload_id, body)
    upload = store.blobs.resume(NAME, upload_id)
    sync = disk.sync
    seen = []

    def look(descriptor: int) -> None:
        seen.append(store.blobs.upload_offset(NAME, upload_id))
        sync(descriptor)

    monkeypatch.setattr(disk, "sync", look)
    commit(store.blobs, upload, digest_of(body))
    assert seen == [len(body)]


def test_requests_of_an_upload_go_on_where_write_back_has_come(
    store: Store, account: BytesInFlight, calls: Calls, body: bytes
) -> None:
    """Many small requests together start write-back, as one large request does."""
    upload_id = _begin(store)
    size = PIECE_SIZE_MIN // 2
    for offset in range(0, len(body), size):
        _append(store, upload_id, body[offset : offset + size])
    assert len(calls.started) > len(body) // PIECE_SIZE_MIN // 2
    assert calls.on_way_max <= LIMIT_MIN
    assert account.in_flight == 0
    upload = store.blobs.resume(NAME, upload_id)
    digest = digest_of(body)
    commit(store.blobs, upload, digest)
    assert pull(store.blobs, digest) == body


def test_a_state_of_an_older_version_has_nothing_on_disk(store: Store) -> None:
    upload_id = _begin(store)
    path = store.layout.upload(parse_upload_id(upload_id), "state")
    state = upload_state.read_unlocked(path)
    assert state is not None
    assert (state.started, state.on_disk) == (0, 0)


@pytest.mark.skipif(not Path("/dev/shm").exists(), reason="there is no file system in memory")
def test_what_lies_in_memory_is_not_written_back() -> None:
    with tempfile.TemporaryFile(dir="/dev/shm") as file:
        write_back = WriteBack(file.fileno(), account=BytesInFlight(None))
        write_back.note(1 << 30)
        write_back.settle()
    assert (write_back.started, write_back.on_disk) == (0, 0)

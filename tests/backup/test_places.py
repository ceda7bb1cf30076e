"""Unsuitable places for backups, and services that lack a feature that backups need."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dtrfast.backup import snapshot
from dtrfast.backup.create import create_backup
from dtrfast.backup.directory import MARKER
from dtrfast.backup.place import BackupPlace
from dtrfast.config import OutgoingConfig
from dtrfast.errors import BackupFailed, Corrupt
from dtrfast.outgoing.permit import OutgoingPolicy
from tests.backup.town import APP, Town, quiet
from tests.outgoing.servers import raw_server

_REFUSAL = b"<Error><Code>%s</Code><Message>of a header</Message></Error>"
_LIST = (
    "<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated>{}</ListBucketResult>".format
)
_ENTRY = (
    "<Contents><Key>{}</Key><LastModified>2026-01-31T12:00:00.000Z</LastModified>"
    '<ETag>"x"</ETag><Size>{}</Size></Contents>'
).format


class PlainStore(ThreadingHTTPServer):
    """An S3 server with the requests that a place needs, but without conditional writes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, bytes] = {}
        self.refusal: tuple[int, bytes] | None = None  # None: the server ignores the condition


class Handler(BaseHTTPRequestHandler):
    server: PlainStore

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["content-length"]))
        if self.headers["if-none-match"] and self.server.refusal:
            status, code = self.server.refusal
            self._answer(status, _REFUSAL % code)
            return
        self.server.objects[self.path] = data
        self._answer(200, b"")

    def do_GET(self) -> None:
        if "list-type=2" in self.path:
            found = ((name[3:], data) for name, data in self.server.objects.items())
            self._answer(200, _LIST("".join(_ENTRY(n, len(d)) for n, d in found)).encode())
        elif self.path in self.server.objects:
            self._answer(200, self.server.objects[self.path])
        else:
            self._answer(404, _REFUSAL % b"NoSuchKey")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.objects.clear()  # only the marker is deleted in this test
        deleted = f"<Deleted><Key>{MARKER}</Key></Deleted>"
        self._answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())

    def do_DELETE(self) -> None:
        self.server.objects.pop(self.path, None)
        self._answer(204, b"")

    def _answer(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.send_header("etag", '"x"')
        self.send_header("last-modified", "Sat, 31 Jan 2026 12:00:00 GMT")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        return


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlainStore]:
    with PlainStore() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "refusal",
    [
        None,
        (400, b"NotImplemented"),
        (400, b"InvalidArgument"),
        (405, b"MethodNotAllowed"),
        pytest.param((501, b"NotImplemented"), marks=pytest.mark.long),  # the client tries again
    ],
)
def test_a_store_without_conditional_writes_is_told(
    store: PlainStore, town: Town, refusal: tuple[int, bytes] | None
) -> None:
    store.refusal = refusal
    with pytest.raises(BackupFailed, match="no conditional writes"):
        create_backup(town.store, BackupPlace("s3://b"), quiet)
    assert store.objects == {}


def test_other_refusals_are_not_taken_for_that(store: PlainStore, town: Town) -> None:
    store.refusal = (400, b"ExpiredToken")
    with pytest.raises(BackupFailed, match="ExpiredToken"):
        create_backup(town.store, BackupPlace("s3://b"), quiet)


def test_strays_and_sizes_in_a_bucket(store: PlainStore) -> None:
    store.objects = {"/b/snapshots/zzz.json": bytes(1001), "/b/snapshots": b""}
    place = BackupPlace("s3://b")
    (stray,) = snapshot.strays(place)
    assert "zzz.json" in stray
    assert len(place.read("snapshots/zzz.json", 1001) or b"") == 1001
    with pytest.raises(Corrupt, match="1,001 bytes"):
        place.read("snapshots/zzz.json", 1000)


def test_a_text_that_is_no_place_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("gs://b/x", "https://example.com/x", "S3://b", "file:///x", "", "a\0b", "s3://"):
        for make in (BackupPlace, BackupPlace.existing):
            with pytest.raises(BackupFailed):
                make(text)
    assert list(tmp_path.iterdir()) == []


def test_looking_at_a_place_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(BackupFailed, match="there are no backups"):
        snapshot.check_marker(BackupPlace.existing(str(tmp_path)), lambda text: None)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    place = BackupPlace(str(tmp_path / "backups"))
    assert place.create("x", b"first")
    assert not place.create("x", b"second")
    assert place.read("x", 5) == b"first"


def test_a_lost_marker_is_written_again_by_its_own_store_only(town: Town, tmp_path: Path) -> None:
    place = BackupPlace(str(tmp_path / "backups"))
    town.push(APP, "v", 1)
    create_backup(town.store, place, quiet)
    place.delete([MARKER])
    other = Town(tmp_path / "other")
    with pytest.raises(BackupFailed, match="another store"):
        create_backup(other.store, place, quiet)
    other.store.close()
    assert place.read(MARKER, 1000) is None
    create_backup(town.store, place, quiet)
    assert snapshot.read_marker(place).store == town.store.id


def test_a_bucket_is_reached_through_our_proxy_and_none_of_the_environment(
    store: PlainStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library treats names and IP addresses differently."""
    store.objects = {"/b/x": b"here"}
    for name in (
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for host in ("127.0.0.1", "localhost"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{store.server_port}")
        assert BackupPlace("s3://b").read("x", 10) == b"here"
    with raw_server(b"HTTP/1.1 404 Not ObjectInfo\r\ncontent-length: 0\r\n\r\n") as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.invalid")
        config = OutgoingConfig(proxy=f"http://127.0.0.1:{proxy.port}")
        assert BackupPlace("s3://b", OutgoingPolicy(config)).read("x", 10) is None
    assert proxy.asked[0].startswith(b"GET http://store.invalid/b/x ")

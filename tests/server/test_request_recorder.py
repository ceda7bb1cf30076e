"""The records of requests besides access log lines: counts, kept lines and times of pulls."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dtrfast.errors import StorageFull
from dtrfast.logs.keeper import LogKeeper
from dtrfast.logs.reader import LogFilter, LogReader
from dtrfast.metrics.meter import Meter
from dtrfast.registry import pulls
from dtrfast.server import last_pulls
from dtrfast.server.access_log import AccessLogEntry
from dtrfast.server.request_recorder import RequestRecorder, kind_of
from dtrfast.server.tally import TIMED, Tally, TallyCounts
from tests.fakes.engine import MemoryEngine
from tests.server.conftest import eventually


def _entry(method: str, path: str, status: int, *, is_hot: bool = False) -> AccessLogEntry:
    scope = {"method": method, "raw_path": path.encode(), "headers": [], "client": ("::1", 1)}
    return AccessLogEntry(1000.0, scope, status, 10, 20, 0.001, complete=True, is_hot=is_hot)


def test_requests_are_counted_by_what_they_are(tmp_path: Path) -> None:
    meter, keeper = Meter(), LogKeeper(tmp_path, "worker-0")
    recorder = RequestRecorder("worker-0", meter, keeper, MemoryEngine(), gets_all_entries=True)
    recorder.take(_entry("PUT", "/v2/acme/app/manifests/v1", 201))
    recorder.take(_entry("GET", "/v2/acme/app/blobs/sha256:x", 200))
    recorder.take(_entry("GET", "/api/v0/accounts", 403))
    recorder.take(_entry("GET", "/repositories", 500))
    recorder.take(_entry("GET", "/readyz", 200))
    totals = meter.totals()
    assert totals.requests == {"pull": 1, "push": 1, "api": 1, "console": 1, "other": 1}
    assert (totals.refused, totals.failed, totals.hot) == (1, 1, 0)
    assert totals.repositories == [("acme/app", 2, 20, 40)]
    keeper.close()
    recorder.close()
    assert len(LogReader(tmp_path).page(LogFilter())[0]) == 5


def test_the_hot_lane_is_counted_where_it_answers(tmp_path: Path) -> None:
    meter, keeper, tally = Meter(), LogKeeper(tmp_path, "worker-0"), Tally()
    recorder = RequestRecorder("worker-0", meter, keeper, MemoryEngine(), gets_all_entries=False)
    key = ("GET", b"/v2/acme/app/manifests/v1?x=1", 200)
    listed = [tally.note(key, 500, 0.001) for _ in range(160)]
    assert sum(listed) == 50
    taken = tally.take()
    recorder.take(_entry("GET", "/v2/acme/app/manifests/v1", 200, is_hot=True))
    recorder.settle(taken)
    totals = meter.totals()
    assert (totals.requests["pull"], totals.hot, totals.bytes_out) == (160, 160, 80_000)
    assert sum(totals.pull) == 160 // TIMED * TIMED
    assert totals.repositories == [("acme/app", 160, 0, 80_000)]
    assert tally.take().count == 0
    keeper.close()
    recorder.close()
    texts = [line.text for line in LogReader(tmp_path).page(LogFilter(kind="message"))[0]]
    assert texts == ["110 more requests were not listed"]


def test_who_gets_all_entries_counts_nothing_twice(tmp_path: Path) -> None:
    keeper, tally = LogKeeper(tmp_path, "worker-0", clock=lambda: 1000.0), Tally()
    recorder = RequestRecorder("worker-0", Meter(), keeper, MemoryEngine(), gets_all_entries=True)
    for _ in range(160):
        tally.note(("GET", b"/v2/acme/app/manifests/v1", 200), 500, 0.001)
        recorder.take(_entry("GET", "/v2/acme/app/manifests/v1", 200, is_hot=True))
    recorder.settle(tally.take())
    recorder.close()
    keeper.close()
    lines = LogReader(tmp_path).page(LogFilter(), limit=1000)[0]
    assert [line.text for line in lines if line.kind == "message"] == [
        "60 more requests were not listed"
    ]
    assert len(lines) == 101


def test_a_tally_that_nobody_takes_away_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dtrfast.server.tally._ROWS_MAX", 10)
    monkeypatch.setattr("dtrfast.server.tally._TIMES_MAX", 5)
    tally = Tally()
    for number in range(160):
        tally.note(("GET", b"/v2/acme/app/manifests/v%d" % number, 404), 10, 0.001)
    taken = tally.take()
    assert (len(taken.rows), len(taken.seconds), taken.count) == (11, 5, 160)
    assert sum(count for count, _ in taken.rows.values()) == 160
    assert taken.rows["GET", b"/v2/", 404] == [150, 1500]


def test_an_answer_that_comes_while_rows_are_read_harms_nothing(tmp_path: Path) -> None:
    taken = TallyCounts({("GET", b"/v2/a/manifests/v1", 200): [1, 10]}, [], 1)

    class MeddlingMeter(Meter):
        """A meter during whose work the event loop counts a response."""

        def note_hot(self, *args: Any, **more: Any) -> None:
            taken.rows["GET", b"/v2/a/manifests/late", 200] = [1, 10]

    keeper = LogKeeper(tmp_path, "worker-0")
    recorder = RequestRecorder(
        "worker-0", MeddlingMeter(), keeper, MemoryEngine(), gets_all_entries=True
    )
    recorder.settle(taken)
    recorder.close()
    keeper.close()


class _PullRecord:
    """A recorder, and the pulls that it wrote."""

    def __init__(self, directory: Path) -> None:
        self.seen: dict[tuple[str, str], int] = {}
        self.failure: Exception | None = None
        self.has_failed = threading.Event()
        self.keeper = LogKeeper(directory, "worker-0")
        engine = MemoryEngine()
        self.recorder = RequestRecorder(
            "worker-0", Meter(), self.keeper, engine, gets_all_entries=True
        )

    def note(self, engine: object, seen: dict[tuple[str, str], int]) -> None:
        failure = self.failure
        if failure is not None:
            self.has_failed.set()
            raise failure
        self.seen.update(seen)


def _pulled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_PullRecord]:
    made = _PullRecord(tmp_path)
    monkeypatch.setattr(pulls, "note", made.note)
    yield made
    made.recorder.close()
    made.keeper.close()


@pytest.fixture
def pulled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_PullRecord]:
    yield from _pulled(tmp_path, monkeypatch)


def test_what_was_pulled_is_written_at_the_end(pulled: _PullRecord) -> None:
    pulled.recorder.take(_entry("GET", "/v2/acme/app/manifests/v1", 200))
    for method, path, status in (
        ("HEAD", "/v2/acme/app/manifests/head", 200),
        ("GET", "/v2/acme/app/manifests/none", 404),
        ("GET", "/v2/acme/app/manifests/same", 304),
        ("GET", "/v2/acme/app/blobs/sha256:x", 200),
        ("PUT", "/v2/acme/app/manifests/put", 201),
        ("GET", "/elsewhere/acme/app/manifests/x", 200),
    ):
        pulled.recorder.take(_entry(method, path, status))
    assert pulled.seen == {}
    pulled.recorder.close()
    assert pulled.seen == {("acme/app", "v1"): 1000}


def test_images_are_manifests_that_were_stored_or_sent(tmp_path: Path) -> None:
    """A push of an image is many requests, and one of them stores its manifest."""
    meter, keeper, tally = Meter(), LogKeeper(tmp_path, "worker-0"), Tally()
    recorder = RequestRecorder("worker-0", meter, keeper, MemoryEngine(), gets_all_entries=False)
    for method, path, status in (
        ("POST", "/v2/acme/app/blobs/uploads/", 202),
        ("PUT", "/v2/acme/app/blobs/uploads/1", 201),
        ("PUT", "/v2/acme/app/manifests/v1", 201),
        ("PUT", "/v2/acme/app/manifests/v2", 400),
        ("PUT", "/v2/acme/manifests/app/blobs/uploads/1", 201),
        ("HEAD", "/v2/acme/app/manifests/v1", 200),
        ("GET", "/v2/acme/app/manifests/v1", 200),
        ("GET", "/v2/acme/app/manifests/v1", 304),
        ("GET", "/v2/acme/manifests/app/blobs/sha256:x", 200),
    ):
        recorder.take(_entry(method, path, status))
    for _ in range(7):
        tally.note(("GET", b"/v2/acme/app/manifests/v1", 200), 500, 0.001)
    recorder.settle(tally.take())
    totals = meter.totals()
    assert (totals.images_pushed, totals.images_pulled) == (1, 8)
    keeper.close()
    recorder.close()


def test_pulls_of_the_hot_lane_are_noted(pulled: _PullRecord) -> None:
    tally = Tally()
    tally.note(("GET", b"/v2/acme/app/manifests/v%31", 200), 500, 0.001)
    tally.note(("GET", b"/v2/acme/app/manifests/none", 404), 500, 0.001)
    tally.note(("HEAD", b"/v2/acme/app/manifests/head", 200), 500, 0.001)
    pulled.recorder.settle(tally.take())
    pulled.recorder.close()
    assert list(pulled.seen) == [("acme/app", "v1")]


@pytest.fixture
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_pulls, "_SECONDS", 0.01)


@pytest.mark.usefixtures("_often")
@pytest.mark.parametrize("failure", [StorageFull("no room"), ValueError("a fault")])
def test_pulls_are_written_now_and_then(
    failure: Exception, pulled: _PullRecord, caplog: pytest.LogCaptureFixture
) -> None:
    pulled.failure = failure
    pulled.recorder.take(_entry("GET", "/v2/acme/app/manifests/lost", 200))
    assert pulled.has_failed.wait(20)
    pulled.failure = None
    pulled.recorder.take(_entry("GET", "/v2/acme/app/manifests/v1", 200))
    eventually(lambda: ("acme/app", "v1") in pulled.seen)
    assert ("Traceback" in caplog.text) is isinstance(failure, ValueError)


def test_few_pulls_are_remembered(pulled: _PullRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_pulls, "_COUNT_MAX", 2)
    for at, reference in enumerate(["a", "b", "c", "a"]):
        pulled.recorder._pulls.note("app", reference, at)
    pulled.recorder.close()
    assert pulled.seen == {("app", "a"): 3, ("app", "b"): 1}


def test_kinds_are_told_by_method_and_path() -> None:
    assert kind_of("HEAD", "/v2/a/blobs/x") == "pull"
    assert kind_of("DELETE", "/v2/a/manifests/x") == "push"
    assert kind_of("GET", "/auth/token") == "api"
    assert kind_of("POST", "/do/create_account") == "console"

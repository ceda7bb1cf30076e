"""What is made of requests besides their lines: counts, listed lines, and times of pulls."""

from __future__ import annotations

from pathlib import Path

from dtrfast.logs.keeper import LogKeeper
from dtrfast.logs.reader import LogFilter, LogReader
from dtrfast.metrics.meter import Meter
from dtrfast.server.access_log import Entry
from dtrfast.server.accounting import Accounting, kind_of
from dtrfast.server.tally import TIMED, Tally
from tests.fakes.engine import MemoryEngine


def _entry(method: str, path: str, status: int, *, is_hot: bool = False) -> Entry:
    scope = {"method": method, "raw_path": path.encode(), "headers": [], "client": ("::1", 1)}
    return Entry(1000.0, scope, status, 10, 20, 0.001, complete=True, is_hot=is_hot)


def test_requests_are_counted_by_what_they_are(tmp_path: Path) -> None:
    meter, keeper = Meter(), LogKeeper(tmp_path, "worker-0")
    accounting = Accounting("worker-0", meter, keeper, MemoryEngine(), is_told_all=True)
    accounting.take(_entry("PUT", "/v2/acme/app/manifests/v1", 201))
    accounting.take(_entry("GET", "/v2/acme/app/blobs/sha256:x", 200))
    accounting.take(_entry("GET", "/api/v0/accounts", 403))
    accounting.take(_entry("GET", "/repositories", 500))
    accounting.take(_entry("GET", "/readyz", 200))
    totals = meter.totals()
    assert totals.requests == {"pull": 1, "push": 1, "api": 1, "console": 1, "other": 1}
    assert (totals.refused, totals.failed, totals.hot) == (1, 1, 0)
    assert totals.repositories == [("acme/app", 2, 20, 40)]
    keeper.close()
    assert len(LogReader(tmp_path).page(LogFilter())[0]) == 5


def test_the_hot_lane_is_counted_where_it_answers(tmp_path: Path) -> None:
    meter, keeper, tally = Meter(), LogKeeper(tmp_path, "worker-0"), Tally()
    accounting = Accounting("worker-0", meter, keeper, MemoryEngine(), is_told_all=False)
    key = ("GET", b"/v2/acme/app/manifests/v1?x=1", 200)
    listed = [tally.note(key, 500, 0.001) for _ in range(160)]
    assert sum(listed) == 50
    taken = tally.take()
    accounting.take(_entry("GET", "/v2/acme/app/manifests/v1", 200, is_hot=True))
    accounting.settle(taken)
    totals = meter.totals()
    assert (totals.requests["pull"], totals.hot, totals.bytes_out) == (160, 160, 80_000)
    assert sum(totals.pull) == 160 // TIMED * TIMED
    assert totals.repositories == [("acme/app", 160, 0, 80_000)]
    assert tally.take().count == 0
    keeper.close()
    texts = [line.text for line in LogReader(tmp_path).page(LogFilter(kind="message"))[0]]
    assert texts == ["110 more requests were not listed"]


def test_kinds_are_told_by_method_and_path() -> None:
    assert kind_of("HEAD", "/v2/a/blobs/x") == "pull"
    assert kind_of("DELETE", "/v2/a/manifests/x") == "push"
    assert kind_of("GET", "/auth/token") == "api"
    assert kind_of("POST", "/do/create_account") == "console"

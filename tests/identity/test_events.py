"""The audit log: whole lines from many processes, bounded, and folded under a flood of events."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dtrfast.errors import PageInvalid
from dtrfast.identity import events, folds
from dtrfast.identity.events import Detail, Event, EventFilter, EventReader, EventWriter, Outcome
from dtrfast.identity.folds import RULES, Folder
from dtrfast.identity.shares import Share, share_of
from dtrfast.machine.line_files import LineFiles

ALL = EventFilter()


def event(
    kind: str = "push",
    *,
    actor: str = "alice",
    remote: str = "10.0.0.1",
    outcome: Outcome = "ok",
    subject: str = "acme/app",
    time: float = 1000.0,
    detail: Detail | None = None,
) -> Event:
    return Event(time, kind, actor, remote, outcome, subject, detail or {})


def write(directory: Path, *events: Event, size_max: int = 1 << 20) -> None:
    writer = EventWriter(directory, size_max)
    for one in events:
        writer.add(one)
    writer.close()


def read_all(directory: Path, wanted: EventFilter = ALL, limit: int = 7) -> list[Event]:
    reader, found, cursor = EventReader(directory), [], ""
    while True:
        events, cursor = reader.page(wanted, cursor, limit)
        found += events
        if not cursor:
            return found


def test_events_come_back_newest_first(tmp_path: Path) -> None:
    events = [event(subject=f"acme/{number}", time=float(number)) for number in range(50)]
    write(tmp_path / "audit", *events)
    assert read_all(tmp_path / "audit") == events[::-1]


def test_events_of_one_second_keep_their_order_across_shares(tmp_path: Path) -> None:
    kinds = ["push", "repository.create", "push", "sign-in", "grant.set", "delete"]
    write(tmp_path / "audit", *(event(kind, subject=f"acme/{i}") for i, kind in enumerate(kinds)))
    assert [one.kind for one in read_all(tmp_path / "audit")] == kinds[::-1]


def test_hostile_text_is_one_line(tmp_path: Path) -> None:
    text = 'a\nb\r\u2028"\\\x00\ud800' + "x" * 5000
    write(tmp_path / "audit", event(actor=text, detail={"agent": text}))
    (line,) = next((tmp_path / "audit").iterdir()).read_bytes().splitlines()
    assert len(line) < 3000
    (found,) = read_all(tmp_path / "audit")
    assert found.actor.startswith('a\nb\r\u2028"\\\x00?x')


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (EventFilter(kind="token.create"), 1),
        (EventFilter(kind="token."), 2),
        (EventFilter(kind="token"), 0),
        (EventFilter(kind="push,token.create"), 3),
        (EventFilter(actor="bob"), 1),
        (EventFilter(remote="::1"), 1),
        (EventFilter(subject="acme/app"), 3),
        (EventFilter(subject="acme/"), 3),
        (EventFilter(subject="acm"), 0),
        (EventFilter(outcome="failed"), 1),
        (EventFilter(since=2000.0), 1),
        (EventFilter(until=2000.0), 3),
        (EventFilter(text="needle"), 1),
        (EventFilter(kind="push", actor="stranger"), 0),
    ],
)
def test_filters(tmp_path: Path, wanted: EventFilter, count: int) -> None:
    write(
        tmp_path / "audit",
        event("token.create", actor="bob"),
        event("token.delete", subject="bob", remote="::1"),
        event(outcome="failed", detail={"agent": "needle"}),
        event(time=2000.0),
    )
    assert len(read_all(tmp_path / "audit", wanted)) == count


def test_all_files_together_are_bounded(tmp_path: Path) -> None:
    size_max = 64 << 10
    for batch in range(40):
        events = [event(subject=f"acme/{batch}-{n}", detail={"x": "y" * 200}) for n in range(20)]
        write(tmp_path / "audit", *events, size_max=size_max)
    sizes = [path.stat().st_size for path in (tmp_path / "audit").iterdir()]
    assert len(sizes) == 16
    assert sum(sizes) <= size_max
    assert read_all(tmp_path / "audit")[0].subject == "acme/39-19"


def test_refusals_are_folded(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "audit", 1 << 20)
    for _ in range(1000):
        writer.add(event("sign-in", outcome="refused", actor="mallory"))
    writer.add(event("sign-in"))
    writer.close()
    again, right, first = read_all(tmp_path / "audit")
    assert (right.outcome, first.detail) == ("ok", {})
    assert again.detail == {"again": 999}


def test_one_address_cannot_flood_the_log_with_names(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "audit", 1 << 24)
    for number in range(5000):
        writer.add(event("sign-in", outcome="refused", actor=f"user{number}"))
    writer.close()
    found = read_all(tmp_path / "audit")
    assert len(found) == 102
    assert (found[0].actor, found[0].remote) == ("", "10.0.0.1")
    assert found[0].detail == {"again": 5000 - 101}


def test_a_minute_later_it_is_written_again() -> None:
    now = [0.0]
    folder = Folder(RULES[Share.REFUSALS], lambda: now[0])
    assert folder.admit(event("sign-in", outcome="refused"))
    assert not folder.admit(event("sign-in", outcome="refused"))
    now[0] = 61.0
    assert [e.detail for e in folder.settle()] == [{"again": 1}]
    assert folder.admit(event("sign-in", outcome="refused"))


def test_a_torn_line_is_passed_over_and_not_continued(tmp_path: Path) -> None:
    write(tmp_path / "audit", event(subject="acme/1"))
    (path,) = (tmp_path / "audit").iterdir()
    path.write_bytes(path.read_bytes() + b'{"actor":"\xff"}\n{"time": 1, "kin')
    write(tmp_path / "audit", event(subject="acme/2"))
    assert [e.subject for e in read_all(tmp_path / "audit")] == ["acme/2", "acme/1"]


def test_a_page_stays_where_it_was(tmp_path: Path) -> None:
    write(tmp_path / "audit", *(event(subject=f"acme/{n}") for n in range(10)))
    reader = EventReader(tmp_path / "audit")
    first, cursor = reader.page(ALL, "", 4)
    write(tmp_path / "audit", *(event(subject=f"later/{n}") for n in range(10)))
    second, _ = reader.page(ALL, cursor, 4)
    names = [e.subject for e in first + second]
    assert names == [f"acme/{n}" for n in range(9, 1, -1)]


def test_a_cursor_of_a_file_that_is_gone(tmp_path: Path) -> None:
    write(tmp_path / "audit", event())
    assert EventReader(tmp_path / "audit").page(ALL, "0-100", 5) == ([], "")


@pytest.mark.parametrize("cursor", ["x", "1", "1-", "-1", "1-2-3", "\u0663-1", "1" * 50 + "-1"])
def test_what_is_no_cursor(tmp_path: Path, cursor: str) -> None:
    with pytest.raises(PageInvalid):
        EventReader(tmp_path).page(ALL, cursor)


_WRITER = """
import sys
from collections.abc import Callable
from pathlib import Path
from dtrfast.identity.events import Event, EventWriter
writer = EventWriter(Path(sys.argv[1]), 80 << 16)
for number in range(300):
    writer.add(Event(float(number), "push", sys.argv[2], "::1", "ok", "x" * (number % 300)))
    if number % 50 == 0:
        writer._drain()
writer.close()
"""


@pytest.mark.slow
def test_many_processes_write_whole_lines(tmp_path: Path) -> None:
    """Several processes change files at the same time as well: a file takes 64 KiB."""
    started = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path / "audit"), f"p{number}"])
        for number in range(4)
    ]
    assert [process.wait() for process in started] == [0] * 4
    found = read_all(tmp_path / "audit", limit=100)
    for number in range(4):
        mine = [e.time for e in found if e.actor == f"p{number}"]
        assert sorted(mine) == [float(n) for n in range(300)]


def test_events_that_cannot_be_written_are_counted_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    writer = EventWriter(tmp_path / "audit", 1 << 20)

    def fail(data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer._streams[Share.CONTENT].files, "append", fail)
    writer.add(event())
    writer.add(event())
    writer.close()
    assert (
        "audit log write failed, 2 events lost: [Errno 28] No space left on device" in caplog.text
    )


def test_events_that_come_too_fast_are_counted_in_an_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writing thread cannot keep up, and the memory is bounded."""
    monkeypatch.setattr(events, "_QUEUE_COUNT_MAX", 3)
    monkeypatch.setattr(events, "_GATHER_SECONDS", 60)
    writer = EventWriter(tmp_path / "audit", 1 << 20)
    for number in range(10):
        writer.add(event(subject=f"acme/{number}"))
    writer.close()
    lost, *kept = read_all(tmp_path / "audit")
    assert (lost.kind, lost.outcome, lost.detail) == ("events.lost", "failed", {"events": 7})
    assert [one.subject for one in kept] == ["acme/2", "acme/1", "acme/0"]


def test_refusals_of_many_addresses_are_folded_by_their_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folds, "_FOLDS_MAX", 3)
    writer = EventWriter(tmp_path / "audit", 1 << 20)
    for number in range(10):
        writer.add(event("sign-in", outcome="refused", remote=f"10.0.0.{number}"))
    writer.close()
    found = read_all(tmp_path / "audit")
    assert len(found) == 5
    assert (found[0].remote, found[0].detail) == ("", {"again": 6})


# ---- shares ----------------------------------------------------------------------------------
# A flood of each kind that one caller can cause in a loop, and the events that must survive it.
_FLOODS: dict[str, Callable[[int], Event]] = {
    "sign-ins of many addresses": lambda n: event("sign-in", remote=f"10.1.{n >> 8}.{n & 255}"),
    "refusals of many addresses": lambda n: event(
        "sign-in", outcome="refused", actor=f"user{n}", remote=f"10.2.{n >> 8}.{n & 255}"
    ),
    "IPv6": lambda n: event("sign-in", outcome="refused", actor=f"u{n}", remote=f"2001:db8::{n:x}"),
    "sign-ins while LDAP is down": lambda n: event("sign-in", outcome="failed", actor=f"user{n}"),
    "pushes": lambda n: event("push", detail={"digest": f"sha256:{n:064}"}),
    "own tokens": lambda n: event("token.create", subject="mallory", detail={"id": n}),
    "own repositories": lambda n: event("repository.create", subject=f"mallory/{n}"),
    "hidden repositories": lambda n: event("refusal", outcome="refused", subject=f"acme/{n}"),
}


def test_no_flood_pushes_out_what_administrators_change(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "audit", 1 << 20)
    writer.add(event("account.create", actor="admin", subject="mallory"))
    writer.add(event("grant.set", actor="admin", subject="acme/app"), by_admin=True)
    for make in _FLOODS.values():
        for number in range(1500):
            writer.add(make(number))
    writer.close()
    found = [e.kind for e in read_all(tmp_path / "audit", EventFilter(actor="admin"), 1000)]
    assert sorted(found) == ["account.create", "grant.set"]
    assert sum(path.stat().st_size for path in (tmp_path / "audit").iterdir()) <= 1 << 20


def test_one_caller_does_not_fill_a_share() -> None:
    """Pushes of different content are an exception: all of them are written."""
    counts = {}
    for name, make in _FLOODS.items():
        share = share_of(make(0).kind, make(0).outcome, by_admin=False)
        folder = Folder(RULES[share], lambda: 0.0)
        counts[name] = sum(folder.admit(make(n)) for n in range(1000))
    assert counts == {
        "sign-ins of many addresses": 101,
        "refusals of many addresses": 1000,
        "IPv6": 101,
        "sign-ins while LDAP is down": 101,
        "pushes": 1000,
        "own tokens": 501,
        "own repositories": 501,
        "hidden repositories": 101,
    }


def test_equal_sign_ins_are_folded(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "audit", 1 << 20)
    token: Detail = {"method": "token", "token": 1}
    for _ in range(1000):
        writer.add(event("sign-in", detail=token))
    for other in (
        event("sign-in", detail={"method": "token", "token": 2}),
        event("sign-in", detail={"method": "password"}),
        event("sign-in", detail=token, remote="10.0.0.2"),
        event("sign-in", detail=token, actor="bob"),
        event("sign-in", detail=token, outcome="failed"),
    ):
        writer.add(other)
    writer.close()
    again, *found = read_all(tmp_path / "audit")
    assert len(found) == 6
    assert again.detail == {**token, "again": 999}


def test_an_allowance_grows_again() -> None:
    now = [0.0]
    folder = Folder(RULES[Share.CHANGES], lambda: now[0])
    admitted = [folder.admit(event("token.create", detail={"id": n})) for n in range(600)]
    assert sum(admitted) == 501
    now[0] = 60.0
    (count,) = folder.settle()
    assert (count.actor, count.subject, count.detail) == ("alice", "", {"again": 99})
    assert sum(folder.admit(event("token.create", detail={"id": -n})) for n in range(20)) == 11


def test_events_of_one_share_do_not_take_the_room_of_others_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_QUEUE_COUNT_MAX", 3)
    monkeypatch.setattr(events, "_GATHER_SECONDS", 60)
    writer = EventWriter(tmp_path / "audit", 1 << 20)
    for number in range(10):
        writer.add(event(outcome="refused", subject=f"acme/{number}"))
    writer.add(event("account.create", actor="admin"))
    writer.close()
    assert len(read_all(tmp_path / "audit", EventFilter(kind="account.create"))) == 1


def test_events_of_older_versions_are_read_and_go_first(tmp_path: Path) -> None:
    old = LineFiles(tmp_path / "audit", 400_000)
    for number in range(1000):
        one = event("settings", subject=str(number), time=float(number), detail={"x": "y" * 200})
        old.append(events._encoder.encode(one) + b"\n")
    old.close()
    reader = EventReader(tmp_path / "audit")
    write(tmp_path / "audit", event(time=5000.0), size_max=1 << 20)
    found = read_all(tmp_path / "audit", limit=300)
    assert [e.time for e in found[:2]] == [5000.0, 999.0]
    assert len(found) == 1001
    # A cursor from before the upgrade of the server still works.
    assert reader.page(ALL, "1-2000", 100)[0][-1].subject == "0"
    write(tmp_path / "audit", event(time=5001.0), size_max=200_000)
    left = read_all(tmp_path / "audit", limit=300)
    assert left[0].time == 5001.0
    assert 100 < len(left) < 800
    assert left[-1].subject != "0"


def test_pages_of_all_shares_together_are_ordered_and_whole(tmp_path: Path) -> None:
    kinds = ("push", "token.create", "settings", "sign-in")
    made = [event(kinds[n % 4], time=float(n), detail={"n": n}) for n in range(200)]
    write(tmp_path / "audit", *made)
    for limit in (1, 7, 200):
        assert read_all(tmp_path / "audit", limit=limit) == made[::-1]

"""The audit log: whole lines from many processes, bounded, and folded where somebody floods it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dtrfast.errors import PageInvalid
from dtrfast.identity import events
from dtrfast.identity.events import Detail, Event, EventFilter, EventReader, EventWriter, Outcome

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
        (EventFilter(kind="push", actor="nobody"), 0),
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


def test_a_minute_later_it_is_written_again(tmp_path: Path) -> None:
    now = [0.0]
    writer = EventWriter(tmp_path / "audit", 1 << 20, lambda: now[0])
    writer.add(event("sign-in", outcome="refused"))
    assert not writer._folder.admit(event("sign-in", outcome="refused"))
    now[0] = 61.0
    assert [e.detail for e in writer._folder.settle()] == [{"again": 1}]
    assert writer._folder.admit(event("sign-in", outcome="refused"))
    writer.close()


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
from pathlib import Path
from dtrfast.identity.events import Event, EventWriter
writer = EventWriter(Path(sys.argv[1]), 16 << 16)
for number in range(300):
    writer.add(Event(float(number), "push", sys.argv[2], "::1", "ok", "x" * (number % 300)))
    if number % 50 == 0:
        writer._drain([])
writer.close()
"""


@pytest.mark.slow
def test_many_processes_write_whole_lines(tmp_path: Path) -> None:
    """They meet at the change of files as well: a file takes 64 KiB."""
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

    monkeypatch.setattr(writer._files, "append", fail)
    writer.add(event())
    writer.add(event())
    writer.close()
    assert "2 audit events are lost: [Errno 28] No space left on device" in caplog.text


def test_events_that_come_too_fast_are_counted_in_an_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that writes them cannot keep up, and memory is bounded."""
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
    monkeypatch.setattr(events, "_FOLDS_MAX", 3)
    writer = EventWriter(tmp_path / "audit", 1 << 20)
    for number in range(10):
        writer.add(event("sign-in", outcome="refused", remote=f"10.0.0.{number}"))
    writer.close()
    found = read_all(tmp_path / "audit")
    assert len(found) == 5
    assert (found[0].remote, found[0].detail) == ("", {"again": 6})

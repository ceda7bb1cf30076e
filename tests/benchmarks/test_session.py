"""The order of turns, and the cleanup afterwards. The servers are fakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.cases import QUICK, Case, CaseSkipped, Setup, Stage, Stock, Turn
from benchmarks.disk import Scratch
from benchmarks.load import LoadFailed
from benchmarks.peers.peer import Ability, Peer, PeerUnavailable, Server, Start
from benchmarks.results import Row, Sample, Unit
from benchmarks.session import Session
from tests.benchmarks.reports import sample

ABILITIES = frozenset({Ability.PULL, Ability.PLAIN, Ability.START})


class AccountStanding(Server):
    """A server without a process, which runs until `stop`."""

    def __init__(self, peer: Standin, start: Start) -> None:
        super().__init__(peer, ("127.0.0.1", 1), tls=False, start=start)
        self.peer_of = peer

    def wait_ready(self) -> None:
        if self.peer_of.is_broken:
            raise PeerUnavailable(f"{self.peer_of.name} does not answer")

    def stop(self) -> None:
        self.peer_of.running -= 1


class Standin(Peer):
    """A peer that counts its servers."""

    def __init__(self, name: str, abilities: frozenset[Ability] = ABILITIES) -> None:
        super().__init__(name, abilities)
        self.started = self.running = 0
        self.is_broken = False

    def version(self) -> str:
        return "1"

    def start(self, start: Start) -> Server:
        self.started, self.running = self.started + 1, self.running + 1
        (start.home / "data").mkdir()
        return AccountStanding(self, start)


class Once(Stock):
    """A stock that counts the servers that it fills."""

    def __init__(self) -> None:
        self.stocked: list[str] = []

    def after(self, stage: Stage) -> None:
        self.stocked.append(stage.peer.name)


class Turns:
    """Return a measure function that measures nothing and records the peer of each turn."""

    def __init__(self, answer: Callable[[Turn], Sample] = lambda turn: sample(1)) -> None:
        self.taken: list[str] = []
        self._answer = answer

    def __call__(self, turn: Turn) -> Sample:
        self.taken.append(turn.stage.peer.name)
        return self._answer(turn)


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> list[Standin]:
    monkeypatch.setattr(Stage, "warm", lambda stage: None)  # fakes answer no requests
    return [Standin("a"), Standin("b")]


@pytest.fixture
def session(peers: list[Standin], tmp_path: Path) -> Iterator[Session]:
    session = Session(peers, replace(QUICK, rounds=3), Scratch(tmp_path, tmp_path))
    yield session
    session.close()


def case(measure: Callable[[Turn], Sample], stock: Stock | None = None) -> Case:
    needs = frozenset({Ability.PULL})
    setup = Setup(stock) if stock else Setup()
    return Case("a case", "", Unit.REQUESTS, measure, needs, setup)


def run(session: Session, which: Case) -> Row:
    return session.run(which, lambda: None)


def failing(name: str, error: Exception) -> Turns:
    """Return a measure function that fails in the second turn of this peer."""

    def answer(turn: Turn) -> Sample:
        if turn.stage.peer.name == name and turns.taken.count(name) == 2:
            raise error
        return sample(1)

    turns = Turns(answer)
    return turns


def test_servers_have_their_turns_one_after_the_other(session: Session) -> None:
    turns = Turns()
    row = run(session, case(turns))
    assert turns.taken == ["a", "b", "a", "b", "a", "b"]
    assert [len(outcome.samples) for outcome in row.outcomes.values()] == [3, 3]
    assert session.turn_count(case(turns)) == 6


def test_what_comes_out_the_same_always_is_measured_once(session: Session) -> None:
    turns = Turns()
    run(session, replace(case(turns), rounds=1))
    assert turns.taken == ["a", "b"]


def test_reading_turns_share_a_stocked_server(session: Session, peers: list[Standin]) -> None:
    stock = Once()
    run(session, case(Turns(), stock))
    run(session, case(Turns(), stock))
    assert stock.stocked == ["a", "b"]
    assert [peer.started for peer in peers] == [1, 1]


def test_writing_turns_have_a_new_server_each(session: Session, peers: list[Standin]) -> None:
    run(session, replace(case(Turns()), writes=True))
    assert [peer.started for peer in peers] == [3, 3]
    assert [peer.running for peer in peers] == [0, 0]


def test_a_peer_that_cannot_do_it_has_no_turn(session: Session) -> None:
    turns = Turns()
    row = run(session, replace(case(turns), needs=frozenset({Ability.PUSH})))
    assert row.outcomes == {}
    assert turns.taken == []


@pytest.mark.parametrize("error", [LoadFailed("it fell"), PeerUnavailable("it fell")])
def test_who_fails_has_no_more_turns(session: Session, error: Exception) -> None:
    turns = failing("b", error)
    row = run(session, case(turns))
    assert turns.taken == ["a", "b", "a", "b", "a"]
    assert row.outcomes["a"].is_valid
    assert not row.outcomes["b"].is_valid
    assert row.outcomes["b"].failure == "it fell"


def test_errors_end_it_as_well_and_the_next_case_has_a_new_server(
    session: Session, peers: list[Standin]
) -> None:
    turns = Turns(lambda turn: sample(1, errors=int(turn.stage.peer.name == "a")))
    row = run(session, case(turns))
    assert turns.taken == ["a", "b", "b", "b"]
    assert row.outcomes["a"].has_failed
    run(session, case(Turns()))
    assert [peer.started for peer in peers] == [2, 1]


def test_who_is_passed_by_has_not_failed(session: Session) -> None:
    row = run(session, case(failing("b", CaseSkipped("it would take an hour"))))
    assert row.outcomes["b"].skipped == "it would take an hour"
    assert not row.outcomes["b"].has_failed


def test_a_defect_of_ours_is_not_a_failure_of_the_server(session: Session) -> None:
    with pytest.raises(ZeroDivisionError):
        run(session, case(failing("b", ZeroDivisionError())))


def test_other_setups_are_ended(session: Session, peers: list[Standin]) -> None:
    first, second = case(Turns(), Once()), case(Turns(), Once())
    run(session, first)
    session.keep_only(second.setup)
    assert [peer.running for peer in peers] == [0, 0]


def test_a_server_that_does_not_start_is_found_at_once(
    session: Session, peers: list[Standin]
) -> None:
    session.check()
    peers[1].is_broken = True
    with pytest.raises(PeerUnavailable, match="b does not answer"):
        session.check()
    assert [peer.running for peer in peers] == [0, 0]


@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), ZeroDivisionError()])
def test_nothing_is_left(peers: list[Standin], tmp_path: Path, error: BaseException | None) -> None:
    session = Session(peers, QUICK, Scratch(tmp_path, tmp_path))

    def answer(turn: Turn) -> Sample:
        (turn.server.data / "blob").write_bytes(b"1")
        if error:
            raise error
        return sample(1)

    with nullcontext() if error is None else pytest.raises(type(error)):
        run(session, case(answer))
    session.close()
    assert [peer.running for peer in peers] == [0, 0]
    assert list(tmp_path.iterdir()) == []

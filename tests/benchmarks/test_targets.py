"""The verdicts of targets."""

from __future__ import annotations

import pytest

from benchmarks.results import Outcome, Unit
from benchmarks.targets import verdicts
from tests.benchmarks.reports import outcome, row, sample


@pytest.mark.parametrize(("rate", "is_reached"), [(79, False), (80, True), (200, True)])
def test_a_ratio_is_reached_from_its_bound_on(rate: float, is_reached: bool) -> None:
    (verdict,) = verdicts(row("manifest-by-tag", rate, peers={"registry": outcome(10)}))
    assert verdict.is_reached is is_reached
    assert verdict.measured == rate / 10


def test_each_peer_has_its_own_target() -> None:
    peers = {"registry": outcome(10), "nginx": outcome(100)}
    found = verdicts(row("manifest-by-tag", 79, peers=peers))
    assert [(verdict.target.peer, verdict.is_reached) for verdict in found] == [
        ("registry", False),
        ("nginx", False),
    ]


@pytest.mark.parametrize(("level", "is_reached"), [(120e6, True), (121e6, False)])
def test_a_level_is_reached_up_to_its_bound(level: float, is_reached: bool) -> None:
    (verdict,) = verdicts(row("memory/idle", level, unit=Unit.MEMORY))
    assert verdict.is_reached is is_reached


@pytest.mark.parametrize("peer", [Outcome(skipped="x"), Outcome((sample(1, errors=1),))])
def test_a_peer_without_figures_says_nothing(peer: Outcome) -> None:
    assert verdicts(row("small-blob", 100, peers={"registry": peer})) == []


def test_a_case_without_a_target_has_no_verdict() -> None:
    assert verdicts(row("catalog", 100, peers={"registry": outcome(1)})) == []

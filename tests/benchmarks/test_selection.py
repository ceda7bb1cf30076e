"""Selection of cases by name."""

from __future__ import annotations

import pytest

from benchmarks.selection import NothingSelected, all_cases, select
from benchmarks.targets import TARGETS, Target

CASES = all_cases()


def names(*asked: str, quick: bool = False) -> list[str]:
    return [case.name for case in select(CASES, asked, quick=quick)]


def test_no_two_cases_have_one_name() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_without_names_all_are_meant_or_all_quick_ones() -> None:
    assert names() == [case.name for case in CASES]
    assert names(quick=True) == [case.name for case in CASES if case.quick]


def test_a_name_means_the_case_and_all_below_it() -> None:
    assert names("memory") == ["memory/idle", "memory/uploads"]
    assert names("memory/idle") == ["memory/idle"]


def test_half_a_name_means_nothing() -> None:
    with pytest.raises(NothingSelected, match="memor"):
        names("memor")


def test_a_pattern_means_what_it_matches() -> None:
    assert names("pull/*/16") == ["pull/loose/16", "pull/raw/16", "pull/zstd/16"]


def test_a_name_is_meant_even_if_it_is_not_quick() -> None:
    assert "pull/zstd/16" not in names(quick=True)
    assert names("pull/zstd/16", quick=True) == ["pull/zstd/16"]


def test_one_wrong_name_among_good_ones_is_said() -> None:
    with pytest.raises(NothingSelected, match="nonsense"):
        names("memory", "nonsense")


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.cases} {target.peer}")
def test_every_target_has_a_case(target: Target) -> None:
    assert names(target.cases)

"""Mutants match their operators, and the sample is the same each time."""

from __future__ import annotations

import ast
import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants.mutation import apply, choose, find_moved, mutants_of
from tests.mutants.report import Report, changes
from tests.mutants.selection import CoveringTests, Time, parts, select, times_of
from tests.mutants.tree import Phase
from tests.mutants.trial import Verdict


def changed(text: str) -> dict[str, str]:
    """Return the text after each operator; the last text if an operator has several places."""
    return {m.operator: apply(m, text) for m in mutants_of("dtrfast/a.py", text)}


@pytest.mark.parametrize(
    ("text", "operator", "after"),
    [
        ("é = a < b", "< to <=", "é = a <= b"),
        ("a = 'ß' == (b)", "== to !=", "a = 'ß' != (b)"),
        ("a = b is c", "is to is not", "a = b is not c"),
        ("a = b not in c", "not in to in", "a = b in c"),
        ("a = b and c or d", "or to and", "a = b and c and d"),
        ("a = b and c or d", "and to or", "a = b or c or d"),
        ("a = not b", "drop not", "a =  b"),
        ("a = b + c", "+ to -", "a = b - c"),
        ("a -= b", "- to +", "a += b"),
        ("a = b[-7]", "number + 1", "a = b[-8]"),
        ("a = b[-7]", "number - 1", "a = b[-(6)]"),
        ("a = True", "True to False", "a = False"),
        ("if a:\n    b(\n        c\n    )", "drop call", "if a:\n    pass"),
        ("async def a():\n    await b()", "drop call", "async def a():\n    pass"),
        ("def a():\n    return b", "return None", "def a():\n    return None"),
        ("while a:\n    break", "break to continue", "while a:\n    continue"),
        ("while a:\n    continue", "continue to break", "while a:\n    break"),
        ("if a:\n    raise B() from c", "drop raise", "if a:\n    pass"),
    ],
)
def test_an_operator_changes(text: str, operator: str, after: str) -> None:
    assert changed(text)[operator] == after


@pytest.mark.parametrize(
    "text",
    [
        '"""Not 1."""',
        "import a",
        "a: Literal[1]",
        "def a(b: Literal[1]) -> Literal[2]: ...",
        "a = f'{b + 1}'",
        "a = 'b' + c",
        "assert a == 1",
        "log.info('%d', 1)",
        "@dataclass(frozen=True)\nclass A: ...",
        "class A(B, kw_only=True): ...",
        "def a():\n    return False",
    ],
)
def test_no_operator_changes(text: str) -> None:
    assert not {*changed(text)} - {"False to True"}


def test_a_statement_has_its_lines_and_import_those_of_what_depends_on_it() -> None:
    text = "A = 1\n\n@b(2)\ndef c(d=3):\n    if d < 4:\n        e(\n            5)\n"
    lines = {m.before: (m.first_line, m.last_line) for m in mutants_of("dtrfast/a.py", text)}
    assert (lines["1"], lines["2"], lines["3"]) == ((1, 8), (5, 7), (5, 7))
    assert (lines["<"], lines["5"]) == ((5, 5), (6, 7))


def test_the_sample_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    (tmp_path / "dtrfast").mkdir()
    for name in "ab":
        (tmp_path / "dtrfast" / f"{name}.py").write_text("a = 1 + b\n" * 50)
    sample = choose(tmp_path, 15, 20)
    assert sample == choose(tmp_path, 15, 20)
    assert sample != choose(tmp_path, 16, 20)
    assert len(set(sample)) == 20
    for mutant in sample:
        ast.parse(apply(mutant, (tmp_path / mutant.path).read_text()))


def test_a_mutant_is_found_again_until_its_line_changes(tmp_path: Path) -> None:
    (tmp_path / "dtrfast").mkdir()
    path = tmp_path / "dtrfast" / "a.py"
    mutant = mutants_of("dtrfast/a.py", "a = 1\nb = c and d\n")[-1]
    path.write_text("a = 1\n\n\nb = c and d\n")
    assert find_moved(mutant, tmp_path) == replace(mutant, line=4, first_line=3, last_line=5)
    path.write_text("b = d and c\n")
    assert find_moved(mutant, tmp_path) is None


def test_quick_tests_of_all_files_are_chosen_first_and_stand_together() -> None:
    times = {"a::1": Time(1, 0), "a::2": Time(2, 0), "b::1": Time(1, 1), "c::1": Time(9, 8)}
    certain = CoveringTests(frozenset({"a::1", "a::2", "b::1"}), frozenset({"c::1"}))
    assert select(certain, times, 99).tests == ("a::1", "a::2", "b::1")
    assert select(certain, times, math.inf).tests == ("a::1", "a::2", "b::1", "c::1")
    assert select(certain, times, 4).tests == ("a::1", "b::1")
    assert select(replace(certain, area="b"), times, 4).tests == ("b::1", "a::1")
    assert select(CoveringTests(frozenset(), frozenset({"c::1"})), times, 4).tests == ("c::1",)


def test_few_files_are_tried_first() -> None:
    tests = [f"{file:02}::{test}" for file in range(20) for test in range(2)]
    assert [len(part) for part in parts(tests)] == [8, 24, 8]
    assert [*parts(tests[:3])] == [tests[:3]]


def test_times_are_of_tests_that_passed() -> None:
    phases = [
        Phase("setup", "passed", 2.0, "a::1"),
        Phase("call", "passed", 1.0, "a::1"),
        Phase("call", "failed", 1.0, "a::2"),
        Phase("setup", "skipped", 1.0, "a::3"),
    ]
    assert times_of(phases) == {"a::1": Time(3.0, 2.0)}


def test_reports_are_compared_and_read_again(tmp_path: Path) -> None:
    first, second = mutants_of("dtrfast/a.py", "a = b and c or d")
    before = Report(1.0, (Verdict(first, "killed", "a::1"), Verdict(second, "survived")))
    after = before.updated([Verdict(first, "survived"), Verdict(second, "timed out")])
    before.write(tmp_path / "report.json")
    assert Report.read(tmp_path / "report.json") == before
    assert str(before) == "killed 1 of 2 (1 killed, 1 survived)"
    assert [verdict.mutant for verdict in changes(before, after, died=True)] == [first]
    assert [verdict.mutant for verdict in changes(before, after, died=False)] == [second]

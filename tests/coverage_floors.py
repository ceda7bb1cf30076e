"""`python -m tests.coverage_floors`: hold coverage's JSON report against the floor of each part.

A part is a folder or a module directly below `dtrfast`. Its figure is the percentage of its lines
and branches that are covered. The command fails when a part is below its floor. Floors are only
ever raised.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

FLOORS = Path(__file__).with_name("coverage_floors.toml")
REPORT = Path("build/coverage/report.json")
_HEAD = """\
# The least coverage of each part of dtrfast, in percent of its lines and branches.
# `make coverage` fails below a floor. `python -m tests.coverage_floors --raise` raises floors to
# the figures of the last run. A floor is lowered by hand only, with the reason in the commit.
[floors]
"""
# Figures of small parts vary by up to a percent between runs: threads and processes interleave
# differently, and a killed process writes no coverage data.
_MARGIN = 1.0
_FILES_SHOWN_MAX = 8

Floors = Mapping[str, int]


class _Summary(msgspec.Struct, frozen=True):
    num_statements: int
    covered_lines: int
    num_branches: int
    covered_branches: int


class _File(msgspec.Struct, frozen=True):
    summary: _Summary
    missing_lines: list[int]
    missing_branches: list[tuple[int, int]]


class _Report(msgspec.Struct, frozen=True):
    files: dict[str, _File]


@dataclass(frozen=True, slots=True)
class FileCoverage:
    """The lines and branches of one file. `missing` has those that no test reaches."""

    path: str
    total: int
    covered: int
    missing: str


@dataclass(frozen=True, slots=True)
class PartCoverage:
    """The coverage of one part of dtrfast. `floor` is None for a part that has no floor yet."""

    name: str
    files: Sequence[FileCoverage]
    floor: int | None

    @property
    def percent(self) -> float:
        total = sum(file.total for file in self.files)
        return 100 * sum(file.covered for file in self.files) / total

    @property
    def is_below_floor(self) -> bool:
        return self.floor is None or self.percent < self.floor

    @property
    def floor_possible(self) -> int:
        """Return the highest floor that this run allows, in whole percent; never below the present
        one.
        """
        return max(self.floor or 0, math.floor(self.percent - _MARGIN))


def parse_report(data: bytes, floors: Floors) -> list[PartCoverage]:
    """Return all parts of a report of `coverage json`, by name.

    Raises ValueError for a floor without a part, because such a floor would check nothing.
    """
    report = msgspec.json.decode(data, type=_Report)
    files = [_file(path, file) for path, file in sorted(report.files.items())]
    grouped = groupby(sorted(files, key=_part_of), key=_part_of)
    measured = [(name, [file for file in some if file.total]) for name, some in grouped]
    parts = [PartCoverage(name, some, floors.get(name)) for name, some in measured if some]
    if unknown := set(floors) - {part.name for part in parts}:
        raise ValueError(f"floors without a part: {', '.join(sorted(unknown))}; remove them")
    return parts


def parse_floors(text: str) -> Floors:
    """Return the floors of a table in the format of `render_floors`."""
    return msgspec.convert(tomllib.loads(text)["floors"], dict[str, int])


def render_floors(floors: Floors) -> str:
    lines = [f'"{name}" = {floor}\n' for name, floor in sorted(floors.items())]
    return _HEAD + "".join(lines)


def complaints(part: PartCoverage) -> Iterator[str]:
    """Yield a line for each part below its floor, then its files, least covered first."""
    if not part.is_below_floor:
        return
    if part.floor is None:
        yield f"{part.name} has no floor: add one with --raise"
        return
    yield f"{part.name} is at {part.percent:.2f} %, below its floor of {part.floor} %; test these:"
    worst = sorted(part.files, key=lambda file: file.covered - file.total)
    for file in worst[:_FILES_SHOWN_MAX]:
        if file.missing:
            yield f"  {file.path}: {file.missing}"


def ranges(numbers: Sequence[int]) -> str:
    """Return sorted line numbers as text: [1, 2, 3, 7] as `1-3, 7`."""
    stretches: list[list[int]] = []
    for number in numbers:
        if stretches and stretches[-1][-1] == number - 1:
            stretches[-1].append(number)
        else:
            stretches.append([number])
    return ", ".join(f"{s[0]}-{s[-1]}" if len(s) > 1 else f"{s[0]}" for s in stretches)


def _file(path: str, file: _File) -> FileCoverage:
    summary, lines = file.summary, set(file.missing_lines)
    # A branch from or to a line that no test reaches adds nothing to that line.
    branches = [
        f"{source}->{target if target > 0 else 'exit'}"
        for source, target in file.missing_branches
        if source not in lines and target not in lines
    ]
    return FileCoverage(
        path,
        summary.num_statements + summary.num_branches,
        summary.covered_lines + summary.covered_branches,
        ", ".join(filter(None, [ranges(file.missing_lines), *branches])),
    )


def _part_of(file: FileCoverage) -> str:
    return "/".join(file.path.split("/")[:2])


def _table(parts: Sequence[PartCoverage]) -> Table:
    table = Table("part", box=None)
    for heading in ("lines + branches", "covered %", "floor"):
        table.add_column(heading, justify="right")
    for part in parts:
        total = sum(file.total for file in part.files)
        floor = "none" if part.floor is None else str(part.floor)
        style = "bold red" if part.is_below_floor else None
        table.add_row(part.name, str(total), f"{part.percent:.2f}", floor, style=style)
    return table


def _hold(
    report: Path = REPORT,
    *,
    write: Annotated[bool, Parameter("--raise", negative="")] = False,
) -> int:
    """Print each part with its floor; return 1 when one is below it.

    Parameters
    ----------
    report
        What `coverage json` wrote.
    write
        Raise the floors that this run allows to raise, instead of failing.
    """
    parts = parse_report(report.read_bytes(), parse_floors(FLOORS.read_text(encoding="utf-8")))
    console = Console(soft_wrap=True, highlight=False)
    console.print(_table(parts))
    if write:
        floors = {part.name: part.floor_possible for part in parts}
        FLOORS.write_text(render_floors(floors), encoding="utf-8")
        return 0
    for part in parts:
        for line in complaints(part):
            console.print(line)
        if part.floor is not None and part.floor_possible > part.floor:
            console.print(f"ratchet: raise {part.name} to {part.floor_possible}")
    return int(any(part.is_below_floor for part in parts))


if __name__ == "__main__":
    cyclopts.run(_hold)

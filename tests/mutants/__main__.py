"""`python -m tests.mutants`: count the mutants of the package that the tests kill."""

from __future__ import annotations

import math
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter
from rich.console import Console

from tests.mutants.coverage_map import CoverageMap
from tests.mutants.mutation import Mutant, choose, find_moved
from tests.mutants.report import Report, changes
from tests.mutants.selection import select
from tests.mutants.tree import Tree
from tests.mutants.trial import Trials, Verdict

ROOT = Path(__file__).parents[2]
# The limit for a process in which a mutant allocates memory in an endless loop.
_MEMORY_SIZE_MAX = 4 << 30
_WORKERS = 2
_PROGRESS_STEP = 10

app = cyclopts.App(name="mutants", help=__doc__, version_flags=[])
console = Console(soft_wrap=True, highlight=False, markup=False)


@app.default
def main(
    *,
    seed: int = 15,
    count: int = 300,
    seconds: Annotated[float, Parameter(help="Time for the tests of one mutant.")] = 20.0,
    report: Annotated[Path | None, Parameter(help="Write the verdicts as JSON.")] = None,
    mutants: Annotated[
        Path | None, Parameter(help="A report on other tests: try its mutants, and compare.")
    ] = None,
    coverage: Annotated[
        Path | None, Parameter(help="A folder for the map of lines to tests; used if it exists.")
    ] = None,
) -> None:
    """Try a random sample of mutants; the same sample for the same seed and package."""
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_SIZE_MAX, _MEMORY_SIZE_MAX))
    before = Report.read(mutants) if mutants else None
    chosen = before.mutants if before else choose(ROOT, seed, count)
    seconds = before.seconds_max if before else seconds
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trees = [Tree.copy(ROOT, Path(folder) / str(number)) for number in range(_WORKERS)]
        kept = (coverage or Path(folder) / "coverage").resolve()
        lines = CoverageMap.load(kept) if kept.exists() else CoverageMap.make(trees[0], kept)
        after = Report(seconds, _verdicts(trees, lines, chosen, seconds))
        if before:
            lost = [one.mutant for one in changes(before, after, died=True)]
            console.print("trying mutants that died before with all tests of their lines:")
            after = after.updated(_verdicts(trees, lines, lost, math.inf))
    if report:
        after.write(report)
    _show(after, before)


def _verdicts(
    trees: Sequence[Tree], lines: CoverageMap, mutants: Sequence[Mutant], seconds_max: float
) -> tuple[Verdict, ...]:
    """Try the mutants; return verdicts in the same order."""
    here = [find_moved(mutant, ROOT) for mutant in mutants]
    selections = {
        mutant: select(lines.covering(mutant), lines.times, seconds_max)
        for mutant in here
        if mutant is not None
    }
    projected = sum(selection.seconds for selection in selections.values()) / len(trees)
    console.print(f"{len(mutants)} mutants; {projected / 60:.0f} min of tests if none is killed")
    began, verdicts = time.monotonic(), dict[Mutant, Verdict]()
    for verdict in Trials(trees, lines.times).verdicts(selections.items()):
        verdicts[verdict.mutant] = verdict
        if len(verdicts) % _PROGRESS_STEP == 0:
            so_far = Report(seconds_max, tuple(verdicts.values()))
            console.print(f"{(time.monotonic() - began) / 60:5.1f} min: {so_far}")
    return tuple(
        verdicts[new] if new else Verdict(old, "stale")
        for old, new in zip(mutants, here, strict=True)
    )


def _show(after: Report, before: Report | None) -> None:
    for verdict in after.verdicts:
        if not verdict.died:
            console.print(f"{verdict.outcome}: {verdict.mutant}")
    if before:
        for died, title in ((True, "died before, lives now"), (False, "lived before, dies now")):
            for verdict in changes(before, after, died=died):
                console.print(f"{title} ({verdict.outcome}): {verdict.mutant}")
        console.print(f"before: {before}")
    console.print(str(after))


if __name__ == "__main__":
    app()

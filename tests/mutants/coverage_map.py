"""A coverage map: the tests that run each line of the package, and their times."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec
from coverage import Coverage, CoverageData

from tests.mutants import plugin
from tests.mutants.mutation import Mutant
from tests.mutants.selection import CoveringTests, Time, times_of
from tests.mutants.tree import Tree

# The first starts container programs. The others test no module of the package.
_LEFT_OUT = ("tests/e2e", "tests/benchmarks", "tests/mutants")
_MARKERS = "not client and not alone"
_LINES, _TIMES = "lines.coverage", "times.json"
_SETTINGS = f"""\
[run]
parallel = true
sigterm = true
data_file = {{lines}}
include = {{root}}/dtrfast/*
context = ${{{{{plugin.STARTER}-}}}}
disable_warnings = no-data-collected, module-not-measured, couldnt-parse
"""


@dataclass(frozen=True, slots=True)
class CoverageMap:
    """The tests that passed on the unchanged package, and the lines that they ran."""

    lines: CoverageData
    times: dict[str, Time]

    @classmethod
    def make(cls, tree: Tree, folder: Path) -> CoverageMap:
        """Run the tests in the tree; the finished map becomes the folder."""
        work = tree.root.with_suffix(".coverage")
        work.mkdir()
        settings = work / "settings.ini"
        settings.write_text(_SETTINGS.format(lines=work / _LINES, root=tree.root))
        left_out = (f"--ignore={path}" for path in _LEFT_OUT)
        two = ("--numprocesses", "2", "--dist", "loadfile")
        variables = {"COVERAGE_PROCESS_START": str(settings), plugin.STARTER: ""}
        run = tree.run(["-m", _MARKERS, *two, *left_out], variables, None)
        Coverage(config_file=str(settings)).combine([str(work)])
        (work / _TIMES).write_bytes(msgspec.json.encode(times_of(run.phases)))
        shutil.move(work, folder)
        return cls.load(folder)

    @classmethod
    def load(cls, folder: Path) -> CoverageMap:
        lines = CoverageData(str(folder / _LINES))
        lines.read()
        times = msgspec.json.decode((folder / _TIMES).read_bytes(), type=dict[str, Time])
        return cls(lines, times)

    def covering(self, mutant: Mutant) -> CoveringTests:
        """Find the tests by the mutant's lines.

        Lines that run at import only have no tests. Then all tests in the folder with the name of
        the module's package are possible.
        """
        contexts: set[str] = set()
        for file in self.lines.measured_files():
            if file.endswith(f"/{mutant.path}"):
                by_line = self.lines.contexts_by_lineno(file)
                wanted = range(mutant.first_line, mutant.last_line + 1)
                contexts.update(*(by_line.get(line, ()) for line in wanted))
        area = mutant.path.removeprefix("dtrfast/").partition("/")[0].removesuffix(".py")
        certain = contexts & self.times.keys()
        starters = tuple(f"{name}::" for name in contexts if name and "::" not in name)
        if contexts and not certain and not starters:
            starters = (f"tests/{area}/", f"tests/test_{area}.py")
        possible = {test for test in self.times if test.startswith(starters)}
        return CoveringTests(frozenset(certain), frozenset(possible - certain), f"tests/{area}/")

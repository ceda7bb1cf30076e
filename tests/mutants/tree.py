"""A scratch copy of the source tree, and runs of pytest in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import psutil

from tests.mutants import plugin
from tests.mutants.mutation import Mutant, apply

_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "build", "data")
# No other installed plugin is loaded: they take seconds to import, and no test needs them.
_PYTEST = ("-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "xdist")
_PLUGINS = ("-p", "hypothesispytest", "-p", plugin.__name__, "--hypothesis-seed=0")


@dataclass(frozen=True, slots=True)
class Phase:
    """The setup, call or teardown of a test, or the collection of a file."""

    when: str
    outcome: str
    seconds: float
    test: str


@dataclass(frozen=True, slots=True)
class TestRun:
    """One run of pytest; its status is None if it took too long and was killed."""

    __test__ = False

    status: int | None
    phases: tuple[Phase, ...]

    @property
    def failed(self) -> str:
        """The test or file that failed first; empty if pytest did not get that far."""
        return next((phase.test for phase in self.phases if phase.outcome == "failed"), "")

    @property
    def last(self) -> str:
        """The last test that made progress."""
        return self.phases[-1].test if self.phases else ""


@dataclass(frozen=True, slots=True)
class Tree:
    """A copy in which modules are changed and tests run; one run at a time."""

    root: Path

    @classmethod
    def copy(cls, source: Path, root: Path) -> Tree:
        shutil.copytree(source, root, ignore=_LEFT_OUT, symlinks=True)
        (root.with_suffix(".tmp")).mkdir()
        return cls(root)

    def run_tests(self, tests: Sequence[str], seconds_max: float) -> TestRun:
        """Run these tests in this order until one fails."""
        chosen = self.root.with_suffix(".chosen")
        chosen.write_text("\n".join(tests))
        functions = dict.fromkeys(test.partition("[")[0] for test in tests)
        return self.run(["-x", *functions], {plugin.CHOSEN: str(chosen)}, seconds_max)

    def run(
        self, arguments: Sequence[str], variables: Mapping[str, str], seconds_max: float | None
    ) -> TestRun:
        phases = self.root.with_suffix(".phases")
        phases.write_text("")
        environment = os.environ | {
            "PYTHONPATH": str(self.root),
            "PYTHONHASHSEED": "0",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "TMPDIR": str(self.root.with_suffix(".tmp")),
            plugin.PHASES: str(phases),
            **variables,
        }
        shutil.rmtree(self.root / ".hypothesis", ignore_errors=True)
        status = _wait(
            subprocess.Popen(
                [sys.executable, *_PYTEST, *_PLUGINS, *arguments],
                cwd=self.root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=None if seconds_max is None else subprocess.DEVNULL,
                stderr=None if seconds_max is None else subprocess.STDOUT,
            ),
            seconds_max,
        )
        lines = (line.split("\t", 3) for line in phases.read_text().splitlines())
        return TestRun(status, tuple(Phase(w, o, float(s), test) for w, o, s, test in lines))

    @contextmanager
    def with_mutant(self, mutant: Mutant) -> Iterator[None]:
        """Put the mutant in place of its module."""
        path = self.root / mutant.path
        text, times = path.read_text(encoding="utf-8"), path.stat()
        path.write_text(apply(mutant, text), encoding="utf-8")
        # Python reuses compiled code if the module has the same size and second of change.
        stamp = crc32(repr(mutant).encode())
        os.utime(path, (stamp, stamp))
        try:
            yield
        finally:
            path.write_text(text, encoding="utf-8")
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _wait(process: subprocess.Popen[bytes], seconds_max: float | None) -> int | None:
    """Return the exit status, or None after the process and all its children were killed."""
    try:
        return process.wait(seconds_max)
    except subprocess.TimeoutExpired:
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait()
        return None

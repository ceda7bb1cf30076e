"""A pytest plugin that tells coverage which test runs, and can run a list of tests only."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from coverage import Coverage

# Environment variables: a file with the tests to run, one per line, and a file that gets a line for
# each phase.
CHOSEN = "MUTANTS_CHOSEN"
PHASES = "MUTANTS_PHASES"
# The file of the running test, which is the coverage context of processes that the test starts.
STARTER = "MUTANTS_STARTER"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if path := os.environ.get(CHOSEN):
        chosen = dict.fromkeys(Path(path).read_text().splitlines())
        files = list(dict.fromkeys(map(_file_of, chosen)))
        config.hook.pytest_deselected(items=[one for one in items if one.nodeid not in chosen])
        # Within a file, pytest's order stays: it starts each server of a parametrized fixture once.
        kept = (item for item in items if item.nodeid in chosen)
        items[:] = sorted(kept, key=lambda item: files.index(_file_of(item.nodeid)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    os.environ[STARTER] = _file_of(item.nodeid)
    if coverage := Coverage.current():
        coverage.switch_context(item.nodeid)
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note(report.nodeid, report.when, report.outcome, report.duration)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _note(report.nodeid, "collect", report.outcome, 0.0)


def _file_of(test: str) -> str:
    return test.partition("::")[0]


def _note(test: str, when: str, outcome: str, seconds: float) -> None:
    # Of the processes that share the tests, only the one that gets all reports writes them.
    if (path := os.environ.get(PHASES)) and "PYTEST_XDIST_WORKER" not in os.environ:
        with Path(path).open("a") as file:
            file.write(f"{when}\t{outcome}\t{seconds:.6f}\t{test}\n")

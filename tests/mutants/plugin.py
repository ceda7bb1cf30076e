"""A pytest plugin that tells coverage which test runs, and can run a list of tests only."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from coverage import Coverage

# Variables: a file with the tests to run, one a line; a file that gets a line for each phase.
CHOSEN = "MUTANTS_CHOSEN"
PHASES = "MUTANTS_PHASES"
# The file of the running test. Coverage of processes that the test starts has this context.
STARTER = "MUTANTS_STARTER"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if path := os.environ.get(CHOSEN):
        order = {test: at for at, test in enumerate(Path(path).read_text().splitlines())}
        dropped = [item for item in items if item.nodeid not in order]
        config.hook.pytest_deselected(items=dropped)
        items[:] = sorted(set(items) - set(dropped), key=lambda item: order[item.nodeid])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    os.environ[STARTER] = item.nodeid.partition("::")[0]
    if coverage := Coverage.current():
        coverage.switch_context(item.nodeid)
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note(report.nodeid, report.when, report.outcome, report.duration)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _note(report.nodeid, "collect", report.outcome, 0.0)


def _note(test: str, when: str, outcome: str, seconds: float) -> None:
    # Of the processes that share the tests, only the one that gets all reports writes them.
    if (path := os.environ.get(PHASES)) and "PYTEST_XDIST_WORKER" not in os.environ:
        with Path(path).open("a") as file:
            file.write(f"{when}\t{outcome}\t{seconds:.6f}\t{test}\n")

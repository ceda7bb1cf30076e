"""How the whole suite is run: with the server's lanes on, or off, and what beside what."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
_TOGETHER = ("e2e", "benchmarks")
_LANES = "DTRFAST_SERVER_LANES"
_AUTH = "DTRFAST_AUTH_MODE"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--lanes",
        choices=("on", "off"),
        default="on",
        help="whether servers under test take the short ways (server.lanes)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Every server of a test inherits this; tests that compare both ways say so themselves.

    Without accounts, unless a test asks for them: most tests are about something else.
    """
    os.environ.setdefault(_AUTH, "none")
    os.environ[_LANES] = "true" if config.getoption("--lanes") == "on" else "false"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file run one after another. So do all that start container programs: these share
    daemons, images and a registry, which are made once in each process that has such tests.
    """
    for item in items:
        file = item.path.relative_to(_TESTS)
        group = file.parts[0] if file.parts[0] in _TOGETHER else str(file)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Processes that run tests tell of them in UTF-8, and some tests log what cannot be told so."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


def pytest_report_header(config: pytest.Config) -> str:
    return f"servers under test: lanes {config.getoption('--lanes')}"

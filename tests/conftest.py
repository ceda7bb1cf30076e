"""Options of all tests: the suite, lanes on or off, and what runs beside what."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
_TOGETHER = ("e2e", "benchmarks")

# Folders and files of the long suite, which `make test` leaves out: they need programs or packages
# that it does not install, measure, or take many seconds. The longest name decides. Single tests
# have the marker `long`.
_LONG = {
    "": False,
    "api/managed/test_document.py": True,
    "benchmarks/load/test_dtrfast.py": True,
    "benchmarks/test_command.py": True,
    "cli/test_accounts.py": True,
    "door": True,
    "door/test_smuggling.py": False,
    "e2e": True,
    "e2e/test_small_image.py": False,
    "ext/test_arm64.py": True,
    "identity/ldap": True,
    "store/test_large_blob.py": True,
    "walks/test_costs.py": True,
}
_LANES = "DTRFAST_SERVER_LANES"
_AUTH = "DTRFAST_AUTH_MODE"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--suite",
        choices=("short", "long", "all"),
        default="all",
        help="the tests of `make test`, those that it leaves out, or both (default)",
    )
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


def _is_long(path: Path) -> bool:
    """Whether the table of long tests has this file or folder."""
    place = path.relative_to(_TESTS)
    names = [place.as_posix(), *(parent.as_posix() for parent in place.parents)]
    return next(_LONG[name] for name in [*names, ""] if name in _LONG)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Keep long files from being imported: they need packages that a short run does not install."""
    if config.getoption("--suite") != "short" or collection_path.is_dir():
        return None
    return True if _is_long(collection_path) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose the suite, then what runs beside what.

    Tests of a file run one after another. So do all that start container programs: these share
    daemons, images and a registry, which are made once in each process that has such tests.
    """
    suite = config.getoption("--suite")
    if suite != "all":
        for_long = suite == "long"
        chosen = [item for item in items if _belongs_to_long(item) == for_long]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
        items[:] = chosen
    for item in items:
        file = item.path.relative_to(_TESTS)
        group = file.parts[0] if file.parts[0] in _TOGETHER else str(file)
        item.add_marker(pytest.mark.xdist_group(group))


def _belongs_to_long(item: pytest.Item) -> bool:
    return _is_long(item.path) or item.get_closest_marker("long") is not None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Processes that run tests tell of them in UTF-8, and some tests log what cannot be told so."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


def pytest_report_header(config: pytest.Config) -> str:
    suite, lanes = config.getoption("--suite"), config.getoption("--lanes")
    return f"suite: {suite}; servers under test: lanes {lanes}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests recorded as `summary`, in whichever process they ran."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, text in getattr(report, "user_properties", ()):
                if name == "summary" and report.when == "call":
                    terminalreporter.section(report.nodeid)
                    terminalreporter.write_line(str(text))

"""Options of all tests: the suite, lanes on or off, and the tests that share a process."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

from dtrfast.config import TEST_ASSEMBLY
from tests import assembly, scoped

_TESTS = Path(__file__).parent
# Folders whose tests share daemons and images, the longest name of a place first.
_TOGETHER = ("e2e/console", "e2e", "benchmarks")

# Folders and files of the long suite, which `make test` leaves out. They measure, need programs or
# packages that it does not install, or start many servers, each of which takes seconds. The longest
# matching name decides. Single tests have the marker `long`.
LONG = {
    "": False,
    "api/managed/test_document.py": True,
    "api/managed/test_trusted_jobs.py": True,
    "benchmarks/load": True,
    "benchmarks/test_command.py": True,
    "cli/test_accounts.py": True,
    "cli/test_remote.py": True,
    "cli/test_serve.py": True,
    "cli/test_shells.py": True,
    "crash/test_store_powercut.py": True,
    "deploy": True,
    "door": True,
    "e2e": True,
    "e2e/test_small_image.py": False,
    "ext/test_arm64.py": True,
    "ext/test_real_encoders.py": True,
    "ext/test_replay_arm64.py": True,
    "ext/test_replay_klauspost.py": True,
    "ext/test_replay_zlib.py": True,
    "identity/ldap": True,
    "mutants": True,
    "server/test_announced.py": True,
    "server/test_connection.py": True,
    "server/test_resume.py": True,
    "server/test_supervisor.py": True,
    "store/test_large_blob.py": True,
    "store/test_upgrade.py": True,
    "store/tier/test_interruptions.py": True,
    "store/tier/test_tier_damage.py": True,
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
    """Set the environment that every server of a test inherits.

    Tests that compare both settings of the lanes set the variable themselves. Servers have no
    accounts unless a test asks for them, because most tests are not about accounts.
    """
    scoped.install()
    os.environ.update(assembly.variables(os.environ.get(TEST_ASSEMBLY, assembly.SCOPED)))
    os.environ.setdefault(_AUTH, "none")
    os.environ[_LANES] = "true" if config.getoption("--lanes") == "on" else "false"


def is_long(path: Path) -> bool:
    """Return True for a file or folder of the long suite."""
    place = path.relative_to(_TESTS)
    names = [place.as_posix(), *(parent.as_posix() for parent in place.parents)]
    return next(LONG[name] for name in [*names, ""] if name in LONG)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import long tests: they need packages that a short run does not install."""
    if config.getoption("--suite") != "short" or not is_long(collection_path):
        return None
    inside = f"{collection_path.relative_to(_TESTS)}/"
    has_short = any(not long for name, long in LONG.items() if name.startswith(inside))
    return None if has_short else True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of the requested suite."""
    ids = Counter(item.nodeid for item in items)
    if same := [name for name, count in ids.items() if count > 1]:
        raise pytest.UsageError(f"several tests have one id, and only one would run: {same}")
    suite = config.getoption("--suite")
    if suite == "all":
        return
    chosen = {item: _belongs_to_long(item) == (suite == "long") for item in items}
    config.hook.pytest_deselected(items=[item for item in items if not chosen[item]])
    items[:] = [item for item in items if chosen[item]]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run tests that measure against servers without the rules of the seams, as users run them."""
    if item.get_closest_marker("alone") is None:
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(TEST_ASSEMBLY, raising=False)
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Fail a test that broke a rule of the seams, even if the program caught the exception."""
    scoped.broken.clear()
    yield
    if scoped.broken and item.get_closest_marker("breaks_rules") is None:
        pytest.fail(f"rules of the seams were broken: {scoped.broken}")


class Groups(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A scheduler that gives one process all tests of a file, or of a folder with shared
    containers.

    Marks for `--dist loadgroup` do not work: with pytest 9.2, pytest-xdist 3.8 loses them without a
    message, and every process starts daemons and servers of its own.
    """

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def group_of(node_id: str) -> str:
    """Return the file of a test, or the folder whose tests share daemons and images."""
    file = node_id.partition("::")[0]
    place = file.removeprefix("tests/")
    return next((folder for folder in _TOGETHER if place.startswith(f"{folder}/")), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    return Groups(config, log)


def _belongs_to_long(item: pytest.Item) -> bool:
    return is_long(item.path) or item.get_closest_marker("long") is not None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape characters that are not valid UTF-8: test processes send their reports in UTF-8."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


def pytest_report_header(config: pytest.Config) -> str:
    suite, lanes = config.getoption("--suite"), config.getoption("--lanes")
    return f"suite: {suite}; servers under test: lanes {lanes}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the texts that tests recorded as `summary`, from all test processes."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, text in getattr(report, "user_properties", ()):
                if name == "summary" and report.when == "call":
                    terminalreporter.section(report.nodeid)
                    terminalreporter.write_line(str(text))

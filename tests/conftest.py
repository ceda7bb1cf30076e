"""How the whole suite is run: with the server's lanes on, or off."""

from __future__ import annotations

import os

import pytest

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


def pytest_report_header(config: pytest.Config) -> str:
    return f"servers under test: lanes {config.getoption('--lanes')}"

"""The example of docs/api.md, and the list of public names there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import dtrfast.app
from dtrfast import testing

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "api.md").read_text()


def test_the_page_lists_the_public_names() -> None:
    listed = set(re.findall(r"^\| `testing\.(\w+)", _PAGE, re.MULTILINE))
    assert listed == set(testing.__all__)
    methods = {
        name
        for name, member in vars(testing.Registry).items()
        if not name.startswith("_") and callable(member)
    }
    described = set(re.findall(r"^\| `registry\.(\w+)\(", _PAGE, re.MULTILINE))
    assert described == methods
    assert "`dtrfast.app:app`" in _PAGE
    assert callable(dtrfast.app.app)


@pytest.mark.long
def test_the_example_for_pytest_passes(tmp_path: Path) -> None:
    for title, source in _examples():
        (tmp_path / title).write_text(source)
    assert (tmp_path / "conftest.py").exists()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:schemathesis"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b[2-9] passed", done.stdout), done.stdout


def _examples() -> Iterator[tuple[str, str]]:
    """Yield the indented files of the page that begin with a comment with their names."""
    for block in re.findall(r"(?:^    .*\n|^\n)+", _PAGE, re.MULTILINE):
        _, *parts = re.split(r"^    # (\w+\.py)\n", block, flags=re.MULTILINE)
        for title, source in zip(parts[::2], parts[1::2], strict=True):
            yield title, textwrap.dedent(source)

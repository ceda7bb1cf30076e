"""The command `python -m benchmarks`, with this checkout only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from benchmarks import results
from benchmarks.load import ROOT
from benchmarks.targets import SUBJECT

COMMAND = (sys.executable, "-m", "benchmarks")
FAST = ("--rounds", "1", "--seconds", "0.1")


def ask(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def places(tmp_path: Path) -> tuple[str | Path, ...]:
    (tmp_path / "memory").mkdir()
    (tmp_path / "disk").mkdir()
    return ("--scratch", tmp_path / "memory", "--disk", tmp_path / "disk")


def assert_nothing_is_left(folder: Path) -> None:
    assert list((folder / "memory").iterdir()) == []
    assert list((folder / "disk").iterdir()) == []
    ours = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if str(folder) in " ".join(process.info["cmdline"] or ())
    ]
    assert ours == []


@pytest.mark.slow
def test_cases_are_measured_reported_and_compared(
    tmp_path: Path, places: tuple[str | Path, ...]
) -> None:
    kept, shown = tmp_path / "report.json", tmp_path / "report.html"
    asked = (*places, *FAST, "--only", "small-blob", "head-missing")
    done = ask(*asked, "--json", kept, "--html", shown)
    assert done.returncode == 0, done.stderr
    report = results.decode(kept.read_bytes())
    assert [row.name for row in report.rows] == ["head-missing", "small-blob"]
    for row in report.rows:
        (sample,) = row.outcomes[SUBJECT].samples
        assert sample.work > 0
        assert sample.errors == 0
        assert sample.resident_peak
        assert sample.p99
        assert row.name in done.stdout
        assert row.name in shown.read_text()
    assert_nothing_is_left(tmp_path)
    compared = ask(*asked, "--compare", kept)
    assert "compared with" in compared.stdout, compared.stderr


@pytest.mark.slow
def test_ctrl_c_leaves_nothing(tmp_path: Path, places: tuple[str | Path, ...]) -> None:
    command = [*COMMAND, *map(str, places), "--seconds", "60", "--only", "small-blob"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # If a shell runs the tests in the background, they and their children ignore Ctrl+C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            wait_for_load(process.pid)
        finally:
            os.killpg(process.pid, signal.SIGINT)
        output, complaint = process.communicate(timeout=60)
    assert process.returncode == 130, complaint
    assert b"interrupted after 0 of 1 cases" in output
    assert b"Traceback" not in complaint
    assert_nothing_is_left(tmp_path)


def wait_for_load(pid: int) -> None:
    """Wait until the load client measures."""
    process = psutil.Process(pid)
    while process.is_running():
        for child in process.children():
            with suppress(psutil.Error):  # some processes end first
                if "--repeat" in child.cmdline():
                    return


@pytest.mark.slow
def test_what_cannot_be_done_is_said(tmp_path: Path, places: tuple[str | Path, ...]) -> None:
    other = tmp_path / "other.json"
    other.write_text("{}")
    for arguments, message in (
        (("--only", "nonsense"), "no case is called nonsense"),
        (("--against", "nonsense"), "no peer is called nonsense"),
        (("--compare", other), "missing required field"),
        (("--json", tmp_path / "nowhere" / "new.json"), "No such file"),
    ):
        done = ask(*places, *arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert_nothing_is_left(tmp_path)


@pytest.mark.slow
def test_the_list_has_every_case() -> None:
    done = ask("--list")
    assert done.returncode == 0
    assert "push/gzip/chunked/4" in done.stdout

"""The C kernels as a 64-bit ARM CPU runs them: cross-compiled, and executed by an emulator."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.ext.streams import GoldenRow, golden_rows, stream

ROOT = Path(__file__).parents[2]
COMPILER = "aarch64-linux-gnu-gcc"
EMULATOR = "qemu-aarch64"

missing = [tool for tool in (COMPILER, EMULATOR) if shutil.which(tool) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}"),
    pytest.mark.skipif(
        os.environ.get("CORE_SANITIZE") == "1", reason="has no sanitized Python code"
    ),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("arm64") / "arm64_check"
    sources = [ROOT / "tests/ext/arm64_check.c", *sorted((ROOT / "ext").glob("*.c"))]
    flags = ["-O3", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-static", f"-I{ROOT / 'ext'}"]
    subprocess.run([COMPILER, *flags, "-o", built, *sources], check=True)
    return built


def run(program: Path, *arguments: str, data: bytes = b"") -> str:
    done = subprocess.run(
        [EMULATOR, program, *arguments], input=data, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    return done.stdout.decode()


def test_kernels_are_right_and_identical(program: Path) -> None:
    output = run(program)
    assert "sha256 armv8 present" in output
    assert "sha256 shani absent" in output
    assert output.endswith("all well\n")


@pytest.mark.parametrize("row", golden_rows(), ids=lambda row: f"{row['stream']}-{row['max_size']}")
def test_cut_points_are_those_of_every_machine(program: Path, row: GoldenRow) -> None:
    sizes = (str(row["min_size"]), str(row["average_size"]), str(row["max_size"]))
    output = run(program, *sizes, data=stream(row["stream"]))
    assert output.split() == [str(row["count"]), row["sha256"]]

"""The klauspost encoders on a 64-bit ARM CPU: rounding of floats decides between blocks."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.ext.klauspost_streams import GOLDEN, stream

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

# Many chunks whose block stays open, so that estimates decide; and all kinds of blocks.
NAMES = ("near-339653", "mixed-1048776", "records-200003", "noise-131070", "text-2000")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("arm64") / "arm64_replay"
    sources = [ROOT / "tests/ext/arm64_replay.c", *sorted((ROOT / "ext").glob("*.c"))]
    flags = ["-O3", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-static", f"-I{ROOT / 'ext'}"]
    subprocess.run([COMPILER, *flags, "-o", built, *sources], check=True)
    return built


@pytest.mark.parametrize("name", NAMES)
def test_streams_are_those_of_every_machine(program: Path, name: str) -> None:
    digests: dict[str, str] = json.loads(GOLDEN.read_text())[name]
    for encoder, digest in digests.items():
        done = subprocess.run(
            [EMULATOR, program, encoder], input=stream(name), capture_output=True, check=True
        )
        assert hashlib.sha256(done.stdout).hexdigest() == digest, encoder

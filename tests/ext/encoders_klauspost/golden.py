"""Write golden/encoders_klauspost.json with the real encoders.

Run it as `python -m tests.ext.encoders_klauspost.golden`. It needs Go, and the modules or a proxy.
Versions of one encoder must agree.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.ext.klauspost_streams import GOLDEN, names, stream

HERE = Path(__file__).parent
# The versions of klauspost/compress at the ends of each class.
PGZIP = {3: ["1.18.2", "1.20.3"], 4: ["1.15.10", "1.18.0"], 5: ["1.20.4"], 8: ["1.18.1"]}
PGZIP_MODULE = """module encode
go 1.24
require (
	github.com/klauspost/compress v{version}
	github.com/klauspost/pgzip v1.2.6
)
"""
# The toolchain does not decide: the encoder is in the module.
PGZIP_TOOLCHAIN = "go1.26.8"
STANDARD_MODULE = "module encode\ngo 1.24\n"
STANDARD_TOOLCHAIN = "go1.27.4"
STANDARD_LEVELS = {6: 6, 7: 1}

Command = list[str]


def build(folder: Path, source: str, module: str, toolchain: str) -> str:
    folder.mkdir()
    shutil.copy(HERE / source / "main.go", folder)
    (folder / "go.mod").write_text(module)
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": toolchain}
    subprocess.run(["go", "build", "-o", "encode", "."], cwd=folder, env=environment, check=True)
    return str(folder / "encode")


def commands(folder: Path) -> dict[int, list[Command]]:
    """Return the commands of each encoder's versions."""
    found = {
        encoder: [
            [
                build(
                    folder / version, "pgzip", PGZIP_MODULE.format(version=version), PGZIP_TOOLCHAIN
                )
            ]
            for version in versions
        ]
        for encoder, versions in PGZIP.items()
    }
    standard = build(folder / "standard", "standard", STANDARD_MODULE, STANDARD_TOOLCHAIN)
    return found | {encoder: [[standard, str(level)]] for encoder, level in STANDARD_LEVELS.items()}


def encode(command: Command, plain: bytes) -> str:
    done = subprocess.run(command, input=plain, capture_output=True, check=True)
    return hashlib.sha256(done.stdout).hexdigest()


def row(name: str, encoders: dict[int, list[Command]]) -> dict[str, str]:
    digests = {}
    for encoder, versions in sorted(encoders.items()):
        found = {encode(command, stream(name)) for command in versions}
        if len(found) != 1:
            raise RuntimeError(f"versions of encoder {encoder} differ on {name}")
        digests[str(encoder)] = found.pop()
    return digests


def make_rows() -> dict[str, dict[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        encoders = commands(Path(folder))
        return {name: row(name, encoders) for name in names()}


def main() -> None:
    GOLDEN.write_text(json.dumps(make_rows(), indent=1) + "\n")


if __name__ == "__main__":
    main()

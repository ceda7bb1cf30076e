"""Write golden/encoders_go.json with the real encoders.

Run it as `python -m tests.ext.encoders_go.golden`. It needs Go 1.21 or newer, which gets the
toolchain below. Go 1.27 writes other bytes.
"""

import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path

from tests.ext.replay_streams import streams

SOURCE = Path(__file__).parent
GOLDEN = Path(__file__).parents[2] / "golden" / "encoders_go.json"
TOOLCHAIN = "go1.26.8"
LEVELS = {"go-default": "-1", "go-best-speed": "1"}


def build(program: str) -> None:
    environment = {**os.environ, "GOTOOLCHAIN": TOOLCHAIN}
    subprocess.run(["go", "build", "-o", program, "."], cwd=SOURCE, env=environment, check=True)


def make_rows() -> dict[str, object]:
    rows: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/encoders_go"
        build(program)
        for name, plain in streams():
            digests: dict[str, str] = {}
            for encoder, level in LEVELS.items():
                done = subprocess.run(
                    [program, level], input=plain, stdout=subprocess.PIPE, check=True
                )
                digests[encoder] = hashlib.sha256(done.stdout).hexdigest()
            plain_digest = hashlib.sha256(plain).hexdigest()
            rows[name] = {"plain_sha256": plain_digest, "sha256": digests}
    return rows


def main() -> None:
    rows = make_rows()
    lines = (f"{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()

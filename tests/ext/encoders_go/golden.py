"""Writes tests/golden/encoders_go.json: python -m tests.ext.encoders_go.golden, with Go <= 1.26."""

import hashlib
import json
import subprocess
import tempfile
from pathlib import Path

from tests.ext.replay_streams import streams

SOURCE = Path(__file__).parent
GOLDEN = Path(__file__).parents[2] / "golden" / "encoders_go.json"
LEVELS = {"go-default": "-1", "go-best-speed": "1"}


def main() -> None:
    rows: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/encoders_go"
        subprocess.run(["go", "build", "-o", program, "."], cwd=SOURCE, check=True)
        for name, plain in streams():
            digests: dict[str, str] = {}
            for encoder, level in LEVELS.items():
                done = subprocess.run(
                    [program, level], input=plain, stdout=subprocess.PIPE, check=True
                )
                digests[encoder] = hashlib.sha256(done.stdout).hexdigest()
            plain_digest = hashlib.sha256(plain).hexdigest()
            rows[name] = {"plain_sha256": plain_digest, "sha256": digests}
    lines = (f"{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()

"""Writes tests/golden/encoders_zlib.json: python -m tests.ext.encoders_zlib.golden.

It needs zlib 1.2.11 to 1.3.1 in Python, GNU gzip 1.10 to 1.13 and pigz 2.4 to 2.8.
"""

import hashlib
import json
import subprocess
import tempfile
import zlib
from pathlib import Path

from tests.ext.zlib_streams import GOLDEN, streams

# Without a name and a time, the gzip header has 10 bytes. The trailer has 8.
COMMANDS = {"gnu-gzip": ("gzip", "-6nc"), "pigz": ("pigz", "-6nc", "-p", "2")}


def run_zlib(plain: bytes) -> bytes:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    return compressor.compress(plain) + compressor.flush()


def run_tool(command: tuple[str, ...], path: Path) -> bytes:
    # A file, because gzip may see a short read from a pipe.
    done = subprocess.run([*command, path], stdout=subprocess.PIPE, check=True)
    return done.stdout[10:-8]


def main() -> None:
    rows: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plain"
        for name, plain in streams():
            path.write_bytes(plain)
            found = {"zlib": run_zlib(plain)}
            found |= {encoder: run_tool(command, path) for encoder, command in COMMANDS.items()}
            row = {
                "plain_sha256": hashlib.sha256(plain).hexdigest(),
                "sha256": {key: hashlib.sha256(data).hexdigest() for key, data in found.items()},
            }
            rows.append(f"{json.dumps(name)}: {json.dumps(row)}")
    GOLDEN.write_text("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main()

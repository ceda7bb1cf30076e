"""Write golden/encoders_zlib.json with the real encoders.

Run it as `python -m tests.ext.encoders_zlib.golden`. It needs one of the versions below of zlib (in
Python), GNU gzip and pigz.
"""

import hashlib
import json
import subprocess
import tempfile
import zlib
from pathlib import Path

from tests.ext.zlib_streams import GOLDEN, streams

# Without a name and a time, the gzip header has 10 bytes. The trailer has 8.
# The versions that write equal bytes, each verified (docs/encoders.md, zlib, 7). Others, such as
# zlib-ng, may differ.
VERSIONS = {
    "zlib": ("1.2.11", "1.2.13", "1.3.1"),
    "gzip": ("1.12", "1.13"),
    "pigz": ("2.6", "2.8"),
}
COMMANDS = {"gnu-gzip": ("gzip", "-6nc"), "pigz": ("pigz", "-6nc", "-p", "2")}


def version_of(tool: str) -> str:
    """Return the version of a tool, or nothing if it is not installed."""
    if tool == "zlib":
        return zlib.ZLIB_RUNTIME_VERSION
    try:
        done = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    # Some versions of pigz write it to stderr.
    first, version = (done.stdout + done.stderr).split()[:2]
    return version if first == tool else ""


def other_versions() -> list[str]:
    """Return the tools whose version is none of those above."""
    found = {tool: version_of(tool) for tool in VERSIONS}
    return [
        f"{tool} {version or 'is missing'}"
        for tool, version in found.items()
        if version not in VERSIONS[tool]
    ]


def run_zlib(plain: bytes) -> bytes:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    return compressor.compress(plain) + compressor.flush()


def run_tool(command: tuple[str, ...], path: Path) -> bytes:
    # A file, because gzip may see a short read from a pipe.
    done = subprocess.run([*command, path], stdout=subprocess.PIPE, check=True)
    return done.stdout[10:-8]


def make_rows() -> dict[str, object]:
    rows: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plain"
        for name, plain in streams():
            path.write_bytes(plain)
            found = {"zlib": run_zlib(plain)}
            found |= {encoder: run_tool(command, path) for encoder, command in COMMANDS.items()}
            rows[name] = {
                "plain_sha256": hashlib.sha256(plain).hexdigest(),
                "sha256": {key: hashlib.sha256(data).hexdigest() for key, data in found.items()},
            }
    return rows


def main() -> None:
    if others := other_versions():
        raise SystemExit(f"not a verified version: {', '.join(others)}")
    rows = make_rows()
    lines = (f"{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()

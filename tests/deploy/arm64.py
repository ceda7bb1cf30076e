"""Python for 64-bit ARM: Debian's packages, unpacked into a folder and run by an emulator."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.images import SUITE, mirror
from tests.e2e.programs import Program, find

_VERSION = "3.11"  # Debian's, in the suite
_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


def python(folder: Path, environment: Mapping[str, str]) -> Program:
    """Return Debian's Python for arm64. It is downloaded to `folder`, 16 MB.

    This machine's own packages and their lists stay as they are.
    """
    emulator = find("qemu-aarch64", environment)
    for name in ("state/lists/partial", "cache/archives/partial", "root"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    sources = folder / "sources.list"
    sources.write_text(f"deb [signed-by={_KEYS}] {mirror()} {SUITE} main\n")
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "status",
    }
    apt = find("apt-get", environment).called_with(
        "-q", *(f"--option={name}={value}" for name, value in options.items())
    )
    apt.run("update", seconds=300)
    apt.run(
        *("install", "--download-only", "--yes", "--no-install-recommends", f"python{_VERSION}"),
        seconds=300,
    )
    for package in (folder / "cache/archives").glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, folder / "root"], check=True)
    program = folder / "root/usr/bin" / f"python{_VERSION}"
    return emulator.called_with("-L", str(folder / "root"), str(program))


def platforms() -> list[str]:
    """Return the names of platforms whose wheels run there, as pip's option takes them."""
    tags = ["manylinux2014", *(f"manylinux_2_{minor}" for minor in range(17, 37))]
    return [f"--platform={tag}_aarch64" for tag in tags]

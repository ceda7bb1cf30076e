"""Images that the tests push: a real Debian, and small ones of a few layers."""

import io
import os
import random
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.e2e.programs import CACHE, Program, find, require_root

SUITE = "bookworm"
_MIRROR_DEFAULT = "http://deb.debian.org/debian"

HELLO = "hello from a small image"
_HELLO_PROGRAM = f"""\
#include <stdio.h>
int main(void) {{ return puts("{HELLO}") < 0; }}
"""


def debian_rootfs(environment: Mapping[str, str]) -> Path:
    """Return a tar file of a minimal Debian, kept between runs. The first run takes 40 s."""
    path = CACHE / f"debian-{SUITE}-root755.tar"
    if path.exists():
        return path
    require_root("debootstrap makes device nodes")
    debootstrap = find("debootstrap", environment)
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dtrfast-rootfs-") as folder:
        os.chmod(folder, 0o755)  # it becomes the container's /, which other users enter
        debootstrap.run("--variant=minbase", SUITE, folder, mirror(), seconds=600)
        _pack(Path(folder), path)
    return path


def build(
    buildah: Program, name: str, layers: Sequence[Mapping[str, bytes]], *, architecture: str = ""
) -> None:
    """Build an image with one layer for each mapping of file names to contents."""
    base = "scratch"
    options = [f"--arch={architecture}"] if architecture else []
    for files in layers:
        container = buildah.run("from", "--pull-never", *options, base)
        with tempfile.TemporaryDirectory(prefix="dtrfast-layer-") as folder:
            for file, content in files.items():
                Path(folder, file).write_bytes(content)
            buildah.run("copy", "--quiet", container, folder, "/")
        buildah.run("config", "--author=dtrfast", *options, container)
        base = buildah.run("commit", "--quiet", "--rm", container, name)


def build_index(buildah: Program, name: str, architectures: Sequence[str]) -> None:
    """Build an index with an image of one layer for each architecture."""
    buildah.run("manifest", "create", name)
    for architecture in architectures:
        layer = {"architecture": architecture.encode()}
        build(buildah, architecture, [layer], architecture=architecture)
        buildah.run("manifest", "add", name, f"localhost/{architecture}")


def noise(size: int, seed: int) -> bytes:
    """Return bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def compile_hello(path: Path) -> None:
    """Write a static program to `path` that prints `HELLO`."""
    compiler = ["gcc", "-static", "-O1", "-x", "c", "-o", str(path), "-"]
    subprocess.run(compiler, input=_HELLO_PROGRAM, text=True, check=True)


def layer_of(files: Mapping[str, bytes], path: Path) -> Path:
    """Write a tar file with these files to `path`."""
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def layer_of_folder(folder: Path, path: Path) -> Path:
    """Write a tar file with the files of a folder to `path`. They keep their modes."""
    with tarfile.open(path, "w") as archive:
        archive.add(folder, arcname=".")
    return path


def _pack(rootfs: Path, path: Path) -> None:
    """Pack and then rename, so that other runs never see a part of the file."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as partial:
        tar = ["tar", "--create", "--numeric-owner", f"--directory={rootfs}", "."]
        subprocess.run(tar, stdout=partial, check=True)
    os.rename(partial.name, path)


def mirror() -> str:
    """Return this machine's mirror of the suite, if it has one, so that its caches are used."""
    folder = Path("/etc/apt")
    sources = [*folder.glob("sources.list"), *sorted(folder.glob("sources.list.d/*"))]
    for path in sources:
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            uri = _uri_of(stanza)
            if uri:
                return uri
    return _MIRROR_DEFAULT


def _uri_of(stanza: str) -> str | None:
    """Return the address of a stanza, in either format, that lists the suite itself."""
    suites = re.search(r"^Suites:(.*)$", stanza, re.MULTILINE)
    uris = re.search(r"^URIs:\s*(\S+)", stanza, re.MULTILINE)
    if suites and uris and SUITE in suites[1].split():
        return uris[1]
    line = re.search(rf"^deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+{SUITE}\s", stanza, re.MULTILINE)
    return line[1] if line else None

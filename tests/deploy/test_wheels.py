"""Wheels and the source distribution: their files, and servers that run from them."""

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import dtrfast
from tests.deploy import arm64
from tests.deploy.serving import get, serving
from tests.e2e.programs import PROJECT, Program, find

pytestmark = pytest.mark.deploy

_TAG = f"cp3{sys.version_info.minor}"


def test_wheels_are_for_both_architectures_and_old_systems(dist: Path) -> None:
    """manylinux_2_17 is RHEL 7 and everything later."""
    built = {path.name for path in dist.iterdir()}
    prefix = f"dtrfast-{dtrfast.__version__}"
    assert built == {
        f"{prefix}.tar.gz",
        *(
            f"{prefix}-{_TAG}-{_TAG}-manylinux2014_{cpu}.manylinux_2_17_{cpu}.whl"
            for cpu in ("x86_64", "aarch64")
        ),
    }


def test_a_wheel_has_the_files_of_the_package_and_no_others(dist: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "dtrfast"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout.split()
    for cpu in ("x86_64", "aarch64"):
        (path,) = dist.glob(f"*_{cpu}.whl")
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            inside = {name for name in names if ".dist-info/" not in name}
            core = f"dtrfast/_core.cpython-3{sys.version_info.minor}-{cpu}-linux-gnu.so"
            assert inside == {*tracked, core}
            changelog = archive.read("dtrfast/console/CHANGELOG.md")
            assert changelog == (PROJECT / "CHANGELOG.md").read_bytes()
            assert any(name.endswith("licenses/LICENSE") for name in names)


def test_make_wheel_builds_for_this_machine_and_needs_no_program_of_the_tests(
    network: Mapping[str, str], new_folder: Callable[[str], Path]
) -> None:
    clone = new_folder("clone")
    subprocess.run(["git", "clone", "--quiet", PROJECT, clone], check=True)
    make = find("make", network).in_folder(clone)
    make.run("wheel", f"PYTHON3={sys.executable}", seconds=600)
    tag = f"{_TAG}-{_TAG}-manylinux2014_{os.uname().machine}"
    (wheel,) = (clone / "dist").glob("*.whl")
    assert wheel.name.startswith(f"dtrfast-{dtrfast.__version__}-{tag}.")
    installed = {path.name for path in (clone / ".venv/bin").iterdir()}
    assert "auditwheel" in installed
    assert not installed & {"pytest", "dtrfast", "playwright"}


def _venv(folder: Path, environment: Mapping[str, str]) -> Program:
    """Make a virtual environment, and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", folder], env=environment, check=True)
    return Program(str(folder / "bin/python"), environment, folder=folder)


def test_pip_installs_a_wheel_into_an_empty_environment(
    wheel: Path, network: Mapping[str, str], new_folder: Callable[[str], Path]
) -> None:
    python = _venv(new_folder("venv"), network)
    python.run("-m", "pip", "install", wheel, seconds=600)
    program = Path(python.path).with_name("dtrfast")
    version = Program(str(program), network, folder=python.folder).run("version")
    assert version == f"dtrfast {dtrfast.__version__}"
    folder = new_folder("served")
    with serving([program], folder, network) as url:
        status, page = get(f"{url}/sign-in")
        assert status == 200
        assets = set(re.findall(rb'(?:href|src)="(/static/[^"]+)"', page))
        assert any(b"htmx" in asset for asset in assets), assets
        for asset in assets:
            status, body = get(url + asset.decode())
            assert (status, bool(body)) == (200, True), asset
        assert b'id="' in page
    assert "Traceback" not in (folder / "server.log").read_text()
    # What is served comes from the environment, and not from this tree.
    found = python.run("-c", "import dtrfast; print(dtrfast.__file__)")
    assert found.startswith(str(python.folder))


def test_pipx_installs_upgrades_and_goes_back(
    wheel: Path, network: Mapping[str, str], new_folder: Callable[[str], Path]
) -> None:
    python = _venv(new_folder("pipx-itself"), network)
    python.run("-m", "pip", "install", "pipx", seconds=300)
    home = new_folder("pipx")
    places = {"PIPX_HOME": str(home / "home"), "PIPX_BIN_DIR": str(home / "bin")}
    pipx = python.called_with("-m", "pipx").with_environment(**places)
    pipx.run("install", "--python", sys.executable, wheel, seconds=600)
    assert "dtrfast" in pipx.run("list", "--short")
    with serving([home / "bin/dtrfast"], new_folder("served"), network) as url:
        assert get(f"{url}/readyz")[0] == 200
    # An upgrade and the way back are the same command, with another wheel.
    pipx.run("install", "--force", "--python", sys.executable, wheel, seconds=600)
    version = Program(str(home / "bin/dtrfast"), network).run("version")
    assert version == f"dtrfast {dtrfast.__version__}"


def test_pip_builds_the_source_distribution(
    dist: Path, network: Mapping[str, str], new_folder: Callable[[str], Path]
) -> None:
    python = _venv(new_folder("source"), network)
    (path,) = dist.glob("*.tar.gz")
    python.run("-m", "pip", "install", "--no-deps", path, seconds=600)
    assert python.run("-c", _DIGEST) == hashlib.sha256(b"dtrfast").hexdigest()


_DIGEST = """
from dtrfast import _core
digest = _core.Sha256()
digest.update(b"dtrfast")
print(digest.hexdigest())
"""


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="Debian's arm64 packages are of 3.11")
def test_the_arm64_wheel_runs(
    dist: Path, network: Mapping[str, str], new_folder: Callable[[str], Path]
) -> None:
    python = arm64.python(new_folder("arm64"), network)
    (path,) = dist.glob("*aarch64.whl")
    site = new_folder("site")
    pip = _venv(new_folder("venv"), network).called_with("-m", "pip")
    options = ["--only-binary=:all:", "--python-version=3.11", *arm64.platforms()]
    pip.run("install", f"--target={site}", *options, path, seconds=600)
    python = python.with_environment(PYTHONPATH=str(site)).called_with("-P")
    assert python.run("-c", _DIGEST) == hashlib.sha256(b"dtrfast").hexdigest()
    # All dependencies are found for that architecture, and import.
    said = python.run("-m", "dtrfast", "version", seconds=300)
    assert said == f"dtrfast {dtrfast.__version__}"

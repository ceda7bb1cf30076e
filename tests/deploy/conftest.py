"""Fixtures of the tests of deploy/: those of the end-to-end tests, wheels, and container images."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.deploy import image
from tests.e2e.conftest import debian_rootfs, docker_daemons, environment, new_folder, scratch
from tests.e2e.programs import PROJECT, require_root
from tests.e2e.stores import Store

__all__ = ["debian_rootfs", "docker_daemons", "environment", "new_folder", "scratch"]


@pytest.fixture(scope="session")
def dist() -> Path:
    """The folder with the wheels and the source distribution, as `make wheels` builds them."""
    pytest.importorskip("auditwheel")
    subprocess.run([PROJECT / ".ci" / "wheels", sys.executable], check=True, timeout=900)
    return PROJECT / "dist"


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    """The wheel for this machine."""
    (path,) = dist.glob(f"*{os.uname().machine}.whl")
    return path


@pytest.fixture(scope="session")
def network(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The environment of programs that install from PyPI, with this machine's settings for that."""
    settings = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return {**environment, **settings}


@pytest.fixture(scope="session")
def image_store(
    new_folder: Callable[[str], Path], network: Mapping[str, str], debian_rootfs: Path
) -> Store:
    """A container store with the image `image.IMAGE`."""
    require_root("podman and buildah change owners of files")
    store = Store(new_folder("store"), network)
    image.build(store, debian_rootfs)
    return store

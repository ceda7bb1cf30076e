"""The server, the machines and the images of the end-to-end tests.

Expensive things are made once a session. Each test pushes to a repository of its own.
"""

import re
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e import daemons, images
from tests.e2e import managed as managed_registries
from tests.e2e import registry as registries
from tests.e2e.managed import ManagedRegistry
from tests.e2e.programs import Program, find, make_environment, require_root
from tests.e2e.registry import Registry
from tests.e2e.stores import Store

_LOG_LINES_SHOWN = 200


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder for large files, which are not kept. Its path is short, because those of sockets
    have at most 108 bytes.
    """
    with tempfile.TemporaryDirectory(prefix="dtrfast-e2e-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def new_folder(scratch: Path) -> Callable[[str], Path]:
    """A function that makes an empty folder whose name starts with its argument."""
    return lambda name: Path(tempfile.mkdtemp(prefix=f"{name}-", dir=scratch))


@pytest.fixture(scope="session")
def environment(new_folder: Callable[[str], Path]) -> Mapping[str, str]:
    """The environment of every program."""
    return make_environment(new_folder("home"))


@pytest.fixture(scope="session")
def registry(new_folder: Callable[[str], Path]) -> Iterator[Registry]:
    """The registry that most tests share."""
    with registries.running(new_folder("registry")) as server:
        yield server


@pytest.fixture
def own_registry(new_folder: Callable[[str], Path]) -> Iterator[Registry]:
    """A registry for a single test, which may damage it or count its contents."""
    with registries.running(new_folder("registry")) as server:
        yield server


@pytest.fixture(scope="session")
def accounts(new_folder: Callable[[str], Path]) -> Iterator[ManagedRegistry]:
    """A registry with accounts. Tests of single clients share it."""
    with managed_registries.running(new_folder("accounts")) as server:
        yield server


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """A repository name that no other test uses."""
    name = re.sub("[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
    return f"{request.module.__name__.rpartition('.test_')[2]}/{name.strip('-')}"


@pytest.fixture(scope="session")
def docker_daemons(
    new_folder: Callable[[str], Path], environment: Mapping[str, str]
) -> Iterator[tuple[Program, Program]]:
    """The docker command lines of two daemons that share nothing."""
    require_root("dockerd mounts")
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(daemons.running(new_folder("docker"), environment)) for _ in "12"
        )
        yield first, second


@pytest.fixture(scope="session")
def debian_rootfs(environment: Mapping[str, str]) -> Path:
    """A tar file of a minimal Debian."""
    return images.debian_rootfs(environment)


@pytest.fixture(scope="session")
def debian(registry: Registry, docker_daemons: tuple[Program, Program], debian_rootfs: Path) -> str:
    """The name of a Debian image that the first daemon has pushed."""
    docker, _ = docker_daemons
    name = f"{registry.host}/lib/debian:bookworm"
    docker.run("import", debian_rootfs, name)
    docker.run("push", name)
    return name


@pytest.fixture
def stores(
    new_folder: Callable[[str], Path], environment: Mapping[str, str]
) -> tuple[Store, Store]:
    """Two empty container stores that share nothing."""
    require_root("podman and buildah change owners of files")
    first, second = (Store(new_folder("store"), environment) for _ in "12")
    return first, second


@pytest.fixture
def skopeo(environment: Mapping[str, str]) -> Program:
    """The skopeo command line."""
    return find("skopeo", environment)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Remember the size of each server's log at the start of the test."""
    yield
    sizes = {server: server.log_size() for server in _registries_of(item)}
    item.stash[_LOG_OFFSETS] = sizes


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the server's output during a failed test."""
    report = yield
    # At the end of a session the logs may be deleted.
    if report.failed and report.when != "teardown":
        offsets = item.stash.get(_LOG_OFFSETS, {})
        for server in _registries_of(item):
            lines = server.log(offsets.get(server, 0)).splitlines()[-_LOG_LINES_SHOWN:]
            report.sections.append(("registry log", "\n".join(lines)))
    return report


_LOG_OFFSETS = pytest.StashKey[dict[Registry, int]]()


def _registries_of(item: pytest.Item) -> list[Registry]:
    assert isinstance(item, pytest.Function)
    values = item.funcargs.values()
    found = [value.registry if isinstance(value, ManagedRegistry) else value for value in values]
    return [value for value in found if isinstance(value, Registry)]

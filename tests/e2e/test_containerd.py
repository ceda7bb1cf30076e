"""Docker with images in containerd, whose client sends each blob in one PUT."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e import daemons
from tests.e2e.programs import Program, require_root
from tests.e2e.registry import Registry

pytestmark = pytest.mark.client


@pytest.fixture(scope="module")
def containerd_daemons(
    new_folder: Callable[[str], Path], environment: Mapping[str, str]
) -> Iterator[tuple[Program, Program]]:
    """The docker command lines of two such daemons that share nothing."""
    require_root("dockerd mounts")
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(
                daemons.running(new_folder("docker"), environment, containerd_store=True)
            )
            for _ in "12"
        )
        yield first, second


def test_real_image_arrives_whole(
    registry: Registry,
    containerd_daemons: tuple[Program, Program],
    debian_rootfs: Path,
    repository: str,
    tmp_path: Path,
) -> None:
    first, second = containerd_daemons
    name = f"{registry.host}/{repository}:bookworm"
    first.run("import", debian_rootfs, name)
    first.run("push", name)
    assert "Layer already exists" in first.run("push", name)
    second.run("pull", name)
    # This does not `run` the image: the daemon needs a newer runc than Debian's. `export` reads
    # every file.
    container = second.run("create", name, "true")
    second.run("export", f"--output={tmp_path / 'rootfs.tar'}", container)
    assert first.run("inspect", "--format={{.Id}}", name) == second.run(
        "inspect", "--format={{.Id}}", name
    )


def test_image_of_the_other_store_is_pulled(
    debian: str, containerd_daemons: tuple[Program, Program]
) -> None:
    daemon = containerd_daemons[1]
    daemon.run("pull", debian)
    assert daemon.run("images", "--quiet", debian)


def test_push_under_another_name_mounts(
    debian: str, containerd_daemons: tuple[Program, Program], registry: Registry
) -> None:
    daemon = containerd_daemons[1]
    name = f"{registry.host}/containerd/mounted:1"
    daemon.run("pull", debian)
    daemon.run("tag", debian, name)
    # The source may be any repository in which the daemon has seen the layer.
    assert "Mounted from " in daemon.run("push", name)

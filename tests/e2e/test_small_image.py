"""A small image through docker and skopeo: the end-to-end test that every test run includes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e import images
from tests.e2e.programs import Program
from tests.e2e.registry import Registry

_DOCKERFILE = """\
FROM scratch
COPY noise /noise
COPY hello /hello
CMD ["/hello"]
"""


@pytest.fixture
def small_image(
    registry: Registry,
    docker_daemons: tuple[Program, Program],
    new_folder: Callable[[str], Path],
) -> str:
    """The name of an image that the first daemon has pushed: a megabyte, and a static program."""
    docker = docker_daemons[0].with_environment(DOCKER_BUILDKIT="0")
    folder = new_folder("image")
    images.compile_hello(folder / "hello")
    (folder / "noise").write_bytes(images.noise(1 << 20, seed=1))
    (folder / "Dockerfile").write_text(_DOCKERFILE)
    name = f"{registry.host}/lib/small:1"
    docker.run("build", "--quiet", "--tag", name, folder)
    docker.run("push", name)
    return name


def test_a_small_image_runs_on_another_machine_and_is_copied_whole(
    small_image: str,
    docker_daemons: tuple[Program, Program],
    skopeo: Program,
    registry: Registry,
    tmp_path: Path,
) -> None:
    first, second = docker_daemons
    second.run("pull", small_image)
    said = second.run("run", "--rm", "--network=none", small_image)
    assert said == images.HELLO
    ids = [daemon.run("inspect", "--format={{.Id}}", small_image) for daemon in (first, second)]
    assert ids[0] == ids[1]

    copied = f"docker://{registry.host}/lib/copy:1"
    insecure = ("--src-tls-verify=false", "--dest-tls-verify=false")
    skopeo.run("copy", *insecure, f"docker://{small_image}", copied)
    skopeo.run("copy", insecure[0], copied, f"oci:{tmp_path / 'layout'}:1")  # checks each digest
    raw = [
        skopeo.run("inspect", "--tls-verify=false", "--raw", image)
        for image in (f"docker://{small_image}", copied)
    ]
    assert raw[0] == raw[1]

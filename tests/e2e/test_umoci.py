"""Umoci: an image that it made is pushed and pulled with skopeo, and unpacked again."""

from collections.abc import Mapping
from pathlib import Path

from tests.e2e import images
from tests.e2e.programs import Program, find, require_root
from tests.e2e.registry import Registry


def test_image_survives_the_way_there_and_back(
    registry: Registry,
    skopeo: Program,
    environment: Mapping[str, str],
    repository: str,
    tmp_path: Path,
) -> None:
    require_root("umoci changes owners of files")
    umoci = find("umoci", environment)
    content = images.noise(300_000, seed=7)
    layout, back = tmp_path / "layout", tmp_path / "back"
    (tmp_path / "file").write_bytes(content)
    umoci.run("init", "--layout", layout)
    umoci.run("new", "--image", f"{layout}:1")
    umoci.run("insert", "--image", f"{layout}:1", tmp_path / "file", "/file")
    image = f"docker://{registry.host}/{repository}:1"
    skopeo.run("copy", "--dest-tls-verify=false", f"oci:{layout}:1", image)
    skopeo.run("copy", "--src-tls-verify=false", image, f"oci:{back}:1")
    umoci.run("unpack", "--image", f"{back}:1", tmp_path / "bundle")
    assert (tmp_path / "bundle" / "rootfs" / "file").read_bytes() == content

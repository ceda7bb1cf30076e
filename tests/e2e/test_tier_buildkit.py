"""The gzip tier: layers of BuildKit are converted, evicted, and used on another machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.e2e import daemons, tiers
from tests.e2e.programs import require_root
from tests.e2e.registry import Registry

pytestmark = pytest.mark.client

# Two layers of many small files. BuildKit's writes end with each file.
CONTENTS = {"first": tiers.text_files(), "second": tiers.text_files(seed=2)}
DOCKERFILE = """\
FROM scratch
COPY first /first
COPY second /second
"""


def test_an_image_reaches_another_machine(
    own_registry: Registry,
    environment: Mapping[str, str],
    new_folder: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    require_root("buildkitd mounts")
    name = f"{own_registry.host}/tier/buildkit:1"
    context, copying, out = (tmp_path / part for part in ("context", "copying", "out"))
    for folder, files in CONTENTS.items():
        tiers.write_files(files, context / folder)
    (context / "Dockerfile").write_text(DOCKERFILE)
    with daemons.running_buildkit(new_folder("buildkit"), environment, own_registry.host) as first:
        daemons.build_with(first, context, f"--output=type=image,name={name},push=true")
    assert tiers.evict(own_registry).layers == 2
    assert tiers.states(own_registry) == {"go-default": "evicted"}
    copying.mkdir()
    (copying / "Dockerfile").write_text(
        f"FROM {name} AS image\nFROM scratch\nCOPY --from=image / /\n"
    )
    with daemons.running_buildkit(new_folder("buildkit"), environment, own_registry.host) as second:
        daemons.build_with(second, copying, f"--output=type=local,dest={out}")
    assert {folder: tiers.read_files(out / folder) for folder in CONTENTS} == CONTENTS

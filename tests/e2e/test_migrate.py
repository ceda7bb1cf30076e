"""`deploy/migrate.sh` copies repositories of another registry, as docs/install.md says."""

from __future__ import annotations

import os
import subprocess

from dtrfast import testing
from tests.e2e.programs import PROJECT, Program

_REPOSITORIES = ("team/app", "team/tools/web", "redis")


def migrate(
    skopeo: Program, old: testing.Registry, new: testing.Registry, names: tuple[str, ...]
) -> subprocess.CompletedProcess[str]:
    options = "--src-tls-verify=false --dest-tls-verify=false"
    folder, _, _ = skopeo.path.rpartition("/")
    return subprocess.run(
        [PROJECT / "deploy" / "migrate.sh", old.host, new.host],
        env={
            **skopeo.environment,
            "SKOPEO_SYNC": options,
            "PATH": f"{folder}:{os.environ['PATH']}",
        },
        input="\n".join(names) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_tags_arrive_with_their_digests_and_a_second_run_adds_what_is_new(
    skopeo: Program,
) -> None:
    with testing.registry() as old, testing.registry() as new:
        images = {"linux/amd64": [{"a": b"1"}], "linux/arm64": [{"a": b"2"}]}
        pushed = [old.push_image(f"{name}:v1", [{"a": name.encode()}]) for name in _REPOSITORIES]
        pushed.append(old.push_index("team/app:multi", images))
        done = migrate(skopeo, old, new, _REPOSITORIES)
        assert done.returncode == 0, done.stderr
        for one in pushed:
            there = new.request("HEAD", f"/v2/{one.repository}/manifests/{one.tag}")
            assert there.headers["docker-content-digest"] == one.digest
        entries = new.manifest("team/app:multi")["manifests"]
        assert len([new.manifest(f"team/app@{entry['digest']}") for entry in entries]) == 2

        later = old.push_image("team/app:v2", [{"b": b"new"}])
        done = migrate(skopeo, old, new, ("team/app", "none/such", "redis"))
        assert done.returncode == 1
        assert done.stderr.endswith("not copied whole: none/such\n")
        assert new.manifest(f"team/app@{later.digest}") == old.manifest("team/app:v2")

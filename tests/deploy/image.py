"""The image of deploy/Containerfile, built as docs/install.md says."""

import os
from pathlib import Path

import dtrfast
from tests.e2e.programs import PROJECT
from tests.e2e.stores import Store

BASE = "localhost/debian:bookworm"
IMAGE = "localhost/dtrfast:test"


def build(store: Store, rootfs: Path) -> None:
    """Build the image in a store, on a base made of a tar file: tests reach no registry."""
    store.podman.run("import", "--quiet", rootfs, BASE)
    arguments = [f"BASE={BASE}", f"VERSION={dtrfast.__version__}", "REVISION=abc"]
    options = [f"--build-arg={argument}" for argument in arguments]
    if authorities := os.environ.get("PIP_CERT"):  # this machine reaches PyPI through a proxy
        options += [f"--volume={authorities}:/run/ca.crt:ro", "--build-arg=PIP_CERT=/run/ca.crt"]
    build_with(store, *options, "--file=deploy/Containerfile", f"--tag={IMAGE}", ".")


def build_with(store: Store, *arguments: str | Path, folder: Path = PROJECT) -> None:
    """Build an image with the images of the store alone. One layer for a stage is enough here."""
    store.buildah.in_folder(folder).run(
        *("bud", "--pull-never", "--layers=false", "--format=docker", *arguments), seconds=1500
    )

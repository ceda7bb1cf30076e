"""Container storage with roots of its own for podman, buildah and skopeo: each is a machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.programs import Program, find


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of images. The vfs driver mounts nothing, so nothing has to be unmounted."""

    root: Path
    environment: Mapping[str, str]

    @property
    def podman(self) -> Program:
        """The podman whose images are here."""
        return find("podman", self.environment).called_with(*self._roots())

    @property
    def buildah(self) -> Program:
        """The buildah whose images are here."""
        return find("buildah", self.environment).called_with(*self._roots())

    def _roots(self) -> tuple[str, ...]:
        root, run = self.root / "root", self.root / "run"
        return (f"--root={root}", f"--runroot={run}", "--storage-driver=vfs")

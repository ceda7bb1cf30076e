"""The Helm chart, rendered, and decoded as the API server of Kubernetes does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.programs import PROJECT, Program, find

FOLDER = PROJECT / "deploy" / "helm" / "dtrfast"
VALUES = sorted((FOLDER / "ci").glob("*-values.yaml"))


class Manifests:
    """Decoded objects, with the fields that the types of Kubernetes know."""

    def __init__(self, objects: list[dict[str, Any]]) -> None:
        self.kinds = sorted(one["kind"] for one in objects)
        self._objects = objects

    def one(self, kind: str) -> dict[str, Any]:
        """Return the object of a kind that has one."""
        [found] = [one for one in self._objects if one["kind"] == kind]
        return found

    @property
    def pod(self) -> dict[str, Any]:
        """The pod's specification."""
        pod: dict[str, Any] = self.one("StatefulSet")["spec"]["template"]["spec"]
        return pod

    @property
    def container(self) -> dict[str, Any]:
        """The pod's only container."""
        [container] = self.pod["containers"]
        assert isinstance(container, dict)
        return container

    @property
    def settings(self) -> str:
        """The settings file, in TOML."""
        return str(self.one("ConfigMap")["data"]["dtrfast.toml"])


@dataclass(frozen=True, slots=True)
class Chart:
    """The chart, with the programs that read it."""

    helm: Program
    check: Program

    @classmethod
    def found(cls, helm: str, environment: Mapping[str, str]) -> Chart:
        """Return the chart, read by this program. `helm` is Helm 4, and `helm3` Helm 3."""
        return cls(find(helm, environment), find("manifest_check", environment))

    def lint(self, *options: str | Path) -> str:
        return self.helm.run("lint", "--strict", FOLDER, *options)

    def text(self, *options: str | Path) -> str:
        """Return the manifests of the release `r`, in YAML."""
        return self.helm.run("template", "r", FOLDER, "--namespace=images", *options)

    def render(self, *options: str | Path) -> Manifests:
        """Return the decoded manifests. Raises ProgramFailed if Kubernetes would refuse a field."""
        return Manifests(json.loads(self.check.run(text=self.text(*options))))

    def notes(self, *options: str | Path) -> str:
        """Return the text that a user reads after the installation."""
        done = self.helm.run(
            "install", "r", FOLDER, "--dry-run=client", "--namespace=images", *options
        )
        return done.partition("NOTES:")[2]

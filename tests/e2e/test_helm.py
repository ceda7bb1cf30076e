"""Helm: a chart is pushed and pulled, and a version is chosen."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.programs import Program, ProgramFailed, find
from tests.e2e.registry import Registry

pytestmark = pytest.mark.client

HTTP = "--plain-http"


@pytest.fixture
def helm(environment: Mapping[str, str]) -> Program:
    """The helm command line."""
    return find("helm", environment)


def test_chart_comes_back(helm: Program, registry: Registry, tmp_path: Path) -> None:
    charts = f"oci://{registry.host}/helm/charts"
    package = _package(helm, tmp_path, "1.0.0")
    helm.run("push", HTTP, package, charts)
    helm.run("pull", HTTP, f"{charts}/demo", "--version=1.0.0", "--destination", _out(tmp_path))
    assert (tmp_path / "out" / package.name).read_bytes() == package.read_bytes()


def test_version_range_picks_the_newest(helm: Program, registry: Registry, tmp_path: Path) -> None:
    charts = f"oci://{registry.host}/helm/many"
    for version in ("1.2.0", "1.10.0", "2.0.0+build.1"):
        helm.run("push", HTTP, _package(helm, tmp_path, version), charts)
    shown = helm.run("show", "chart", HTTP, f"{charts}/demo", "--version=^1")
    assert "version: 1.10.0" in shown.splitlines()
    shown = helm.run("show", "chart", HTTP, f"{charts}/demo")
    assert "version: 2.0.0+build.1" in shown.splitlines()


def test_missing_chart_is_an_error(helm: Program, registry: Registry) -> None:
    with pytest.raises(ProgramFailed, match="not found"):
        helm.run("show", "chart", HTTP, f"oci://{registry.host}/helm/none", "--version=1.0.0")


def _package(helm: Program, folder: Path, version: str) -> Path:
    """Return a packaged chart of that version."""
    chart = folder / "demo"
    if not chart.exists():
        helm.run("create", chart)
    helm.run("package", chart, f"--version={version}", "--destination", folder)
    return folder / f"demo-{version}.tgz"


def _out(folder: Path) -> Path:
    out = folder / "out"
    out.mkdir()
    return out

"""Who may import whom, and who alone may import what. The picture is in docs/architecture.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dtrfast"

# Each layer may import itself and those before it.
LAYERS = (
    {"__init__", "errors", "times"},
    {"config", "certificates", "line_files", "metrics"},
    {"_core"},
    {"oci"},
    {"index"},
    {"store"},
    {"backup", "registry", "logs"},
    {"identity"},
    {"api", "jobs"},
    {"console"},
    {"server"},
    {"app"},
    {"cli"},
    {"__main__"},
)
# What pure and low layers must not know although it comes before them.
FORBIDDEN = {"oci": {"config", "index", "_core"}, "_core": {"errors", "config"}}

# A third-party package and where alone it may be imported.
OWNERS = {
    "lmdb": ("index/lmdb.py",),
    "starlette": ("api/", "console/", "app.py"),
    "psutil": ("metrics/",),
    "jinja2": ("console/rendering.py",),
    "markupsafe": ("console/rendering.py",),
    "markdown_it": ("console/markdown.py",),
    "nh3": ("console/markdown.py",),
    "anyio": ("api/",),
    "hypercorn": ("server/",),
    "h11": ("server/",),
    "uvloop": ("server/",),
    "argon2": ("identity/passwords.py",),
    "joserfc": ("identity/",),
    "ldap3": ("identity/ldap/",),
    "obstore": ("backup/place.py",),
    "cyclopts": ("cli/",),
    "rich": ("cli/",),
}
SYNCHRONOUS = (
    "metrics",
    "oci",
    "index",
    "store",
    "backup",
    "registry",
    "logs",
    "identity",
    "jobs",
)
HOPS = ("run_in_executor", "to_thread", "run_in_threadpool", "run_sync", "ThreadPoolExecutor")

MODULES = sorted(PACKAGE.rglob("*.py"))


def named(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def layer_of(module: str) -> int:
    """The layer of `dtrfast.x.y`, or of the path `x/y.py`."""
    name = module.removesuffix(".py").replace("/", ".").removeprefix("dtrfast").lstrip(".")
    first = name.split(".")[0] or "__init__"
    for number, layer in enumerate(LAYERS):
        if first in layer:
            return number
    raise AssertionError(f"{module} belongs to no layer: name it here and in the architecture")


def imports_of(tree: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module == "dtrfast":
                for alias in node.names:
                    yield f"dtrfast.{alias.name}", node
            else:
                yield module, node


@pytest.fixture(params=MODULES, ids=named)
def module(request: pytest.FixtureRequest) -> tuple[str, ast.Module]:
    path: Path = request.param
    return named(path), ast.parse(path.read_text(encoding="utf-8"))


def test_layers_import_downwards(module: tuple[str, ast.Module]) -> None:
    name, tree = module
    here = name.split("/")[0].removesuffix(".py")
    for imported, _ in imports_of(tree):
        if imported.split(".")[0] != "dtrfast":
            continue
        assert layer_of(imported) <= layer_of(name), f"{name} must not import {imported}"
        there = imported.split(".")[1] if "." in imported else "__init__"
        same_level = LAYERS[layer_of(name)] - {here}
        assert there not in same_level or name == "__init__.py", f"{name} imports {imported}"
        assert there not in FORBIDDEN.get(here, ()), f"{name} must not import {imported}"


def test_third_parties_have_one_owner(module: tuple[str, ast.Module]) -> None:
    name, tree = module
    for imported, _ in imports_of(tree):
        owners = OWNERS.get(imported.split(".")[0])
        assert owners is None or name.startswith(owners), f"{name} must not import {imported}"


def test_imports_are_absolute(module: tuple[str, ast.Module]) -> None:
    name, tree = module
    for _, node in imports_of(tree):
        relative = isinstance(node, ast.ImportFrom) and node.level > 0
        assert not relative, f"{name}:{node.lineno} is a relative import"


def test_imports_stand_at_the_top(module: tuple[str, ast.Module]) -> None:
    name, tree = module
    if name.startswith("cli/"):
        return  # commands may import what only they need
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = [node.lineno for _, node in imports_of(function)]
            assert not inner, f"{name}:{inner} imports inside {function.name}"


def test_threads_are_hopped_to_in_one_place(module: tuple[str, ast.Module]) -> None:
    name, tree = module
    if name == "server/threads.py":
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            assert node.attr not in HOPS, f"{name}:{node.lineno} uses {node.attr}"
        elif isinstance(node, ast.Name):
            assert node.id not in HOPS, f"{name}:{node.lineno} uses {node.id}"


def test_what_is_below_the_api_is_synchronous(module: tuple[str, ast.Module]) -> None:
    name, tree = module
    if not name.startswith(SYNCHRONOUS):
        return
    for node in ast.walk(tree):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), f"{name}:{node.lineno}"
    assert not {module for module, _ in imports_of(tree)} & {"asyncio"}, f"{name} imports asyncio"


def test_every_package_has_an_empty_init() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        if path != PACKAGE / "__init__.py":
            assert path.read_text() == "", f"{named(path)} must be empty"

"""The API maps requests to use cases of `registry` and `identity`.

`test_waist.py` lists the modules of those packages that the API may import. This module checks that
the API opens no transactions itself.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
API = sorted((ROOT / "dtrfast" / "api").rglob("*.py"))
# The methods of an engine that open a transaction.
OPENING = {"read", "write", "write_both"}


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _opened(tree: ast.AST) -> Iterator[int]:
    """Return the lines that open a transaction: `engine.read()`, `self._engine.write(change)`."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in OPENING
            and ast.unparse(node.func.value).rpartition(".")[2].lstrip("_") == "engine"
        ):
            yield node.lineno


@pytest.mark.parametrize("path", API, ids=lambda path: path.stem)
def test_the_api_opens_no_transaction_and_touches_no_table(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [name for name in _imports(tree) if name.startswith("dtrfast.index")] == []
    assert list(_opened(tree)) == []
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    assert "transaction" not in names | arguments


def test_an_opened_transaction_is_found() -> None:
    text = "with self._engine.read() as transaction: pass\nengine.write(change)\nfile.read()"
    assert sorted(_opened(ast.parse(text))) == [1, 2]

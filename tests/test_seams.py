"""No transaction of the index leaves the block that opened it, and no generator holds one open.

A generator that yields inside of `with engine.read()` keeps its snapshot until its caller continues
it, or for good. A transaction, or a lazy scan of one, cannot be used after the block.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import chain

import pytest

from tests.test_architecture import PACKAGE, parsed

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
# Functions of the standard library that read their arguments later, one by one.
_LAZY = {
    "chain",
    "dropwhile",
    "enumerate",
    "filter",
    "iter",
    "islice",
    "map",
    "partial",
    "starmap",
    "takewhile",
    "zip",
}


def _inside(nodes: list[ast.stmt]) -> Iterator[ast.AST]:
    """Yield all nodes, without those of functions that are defined inside."""
    waiting: list[ast.AST] = list(nodes)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _FUNCTIONS):
            waiting.extend(ast.iter_child_nodes(node))


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _is_generator(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in _inside(function.body))


def _mentions(node: ast.AST, name: str) -> bool:
    return any(isinstance(one, ast.Name) and one.id == name for one in ast.walk(node))


def _module_of(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@dataclass(frozen=True)
class _Module:
    """A module, and the names in it that are functions with lazy results."""

    tree: ast.Module
    lazy: set[str]  # "rows", or "tags.tags_of"
    found: list[str] = field(default_factory=list)

    def check(self) -> list[str]:
        for function in _functions(self.tree):
            for node in _inside(function.body):
                if isinstance(node, ast.With):
                    for item in node.items:
                        self._check_with(function, node, item)
        return sorted(self.found)

    def _check_with(
        self,
        function: ast.FunctionDef | ast.AsyncFunctionDef,
        block: ast.With,
        item: ast.withitem,
    ) -> None:
        call = item.context_expr
        if not (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr == "read"
            and isinstance(item.optional_vars, ast.Name)
        ):
            return
        transaction = item.optional_vars.id
        passed = {transaction}
        for node in _inside(block.body):
            if isinstance(node, ast.Yield | ast.YieldFrom):
                self._find(function, node, "yields inside of a snapshot")
            elif isinstance(node, ast.Return) and self._is_lazy(node.value, transaction):
                self._find(function, node, "returns an open transaction")
            elif isinstance(node, ast.Assign) and self._is_lazy(node.value, transaction):
                names = {target.id for target in node.targets if isinstance(target, ast.Name)}
                passed |= names
                if not names:
                    self._find(function, node, "keeps an open transaction")
        self._check_rest(function, block, passed)

    def _check_rest(
        self, function: ast.FunctionDef | ast.AsyncFunctionDef, block: ast.With, passed: set[str]
    ) -> None:
        for node in _inside(function.body):
            if (
                isinstance(node, ast.Name)
                and isinstance(node.ctx, ast.Load)
                and node.id in passed
                and self._is_after(function, block, node)
            ):
                self._find(function, node, f"uses {node.id} after the snapshot's end")

    def _is_after(self, function: ast.AST, block: ast.With, name: ast.Name) -> bool:
        """Return True for a name after the block that was not bound again since."""
        assert block.end_lineno is not None
        if name.lineno <= block.end_lineno:
            return False
        return not any(
            isinstance(node, ast.Name)
            and node.id == name.id
            and isinstance(node.ctx, ast.Store)
            and block.end_lineno < node.lineno <= name.lineno
            for node in ast.walk(function)
        )

    def _is_lazy(self, value: ast.expr | None, transaction: str) -> bool:
        """Return True for the transaction, and for values that use it only later."""
        if isinstance(value, ast.Name):
            return value.id == transaction
        if isinstance(value, ast.GeneratorExp | ast.Lambda):
            return _mentions(value, transaction)
        if isinstance(value, ast.Tuple | ast.List):
            return any(self._is_lazy(one, transaction) for one in value.elts)
        if isinstance(value, ast.IfExp):
            return any(self._is_lazy(one, transaction) for one in (value.body, value.orelse))
        if not isinstance(value, ast.Call) or not _mentions(value, transaction):
            return False
        name = ast.unparse(value.func)
        if name in _LAZY:
            arguments = value.args
            is_called_later = name in ("partial", "map", "starmap", "filter", "takewhile")
            return is_called_later or any(self._is_lazy(one, transaction) for one in arguments)
        return name == f"{transaction}.scan" or name in self.lazy

    def _find(self, function: ast.AST, node: ast.AST, what: str) -> None:
        assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        assert isinstance(node, ast.expr | ast.stmt)
        self.found.append(f"{node.lineno}: {function.name} {what}")


def _lazy_functions(tree: ast.Module) -> set[str]:
    """Return the functions of a module whose results are lazy scans."""
    found = {one.name for one in tree.body if isinstance(one, ast.FunctionDef) and _is_lazy(one)}
    methods = chain.from_iterable(c.body for c in tree.body if isinstance(c, ast.ClassDef))
    found |= {
        f"self.{one.name}" for one in methods if isinstance(one, ast.FunctionDef) and _is_lazy(one)
    }
    return found


def _is_lazy(function: ast.FunctionDef) -> bool:
    returned = [n.value for n in _inside(function.body) if isinstance(n, ast.Return)]
    return _is_generator(function) or any(isinstance(one, ast.GeneratorExp) for one in returned)


def _imported(tree: ast.Module, lazy: dict[str, set[str]]) -> set[str]:
    """Return the lazy functions of other modules, by the names that this module has for them."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = alias.asname or alias.name
                module = f"{node.module}.{alias.name}".removeprefix("dtrfast.")
                found |= {f"{name}.{one}" for one in lazy.get(module, ())}
                if alias.name in lazy.get(node.module.removeprefix("dtrfast."), ()):
                    found.add(name)
    return found


@cache
def _lazy_of_all() -> dict[str, set[str]]:
    return {_module_of(name): _lazy_functions(tree) for name, tree in parsed()}


def findings(tree: ast.Module) -> list[str]:
    return _Module(tree, _lazy_functions(tree) | _imported(tree, _lazy_of_all())).check()


def test_no_snapshot_outlives_its_block() -> None:
    reading = {name for name, _ in parsed() if ".read() as" in (PACKAGE / name).read_text()}
    assert len(reading) > 50
    found = [f"{n}:{one}" for n, tree in parsed() if n in reading for one in findings(tree)]
    assert found == []


@pytest.mark.parametrize(
    "body",
    [
        "yield transaction.get(T, k)",
        "yield from transaction.scan(T)",
        "return transaction",
        "return transaction.scan(T)",
        "return iter(transaction.scan(T))",
        "return (key for key, _ in transaction.scan(T))",
        "return map(decode, transaction.scan(T))",
        "return rows(transaction)",
        "return tags.tags_of(transaction, 1, 2)",
        "return partial(find, transaction)",
        "return lambda: transaction.get(T, k)",
        "return 1, transaction.scan(T)",
        "self.rows = transaction.scan(T)",
        "found = transaction.scan(T)\n    return list(found)",
        "pass\n    return transaction.get(T, k)",
    ],
)
def test_a_transaction_that_leaves_its_block_is_found(body: str) -> None:
    assert len(findings(_example(body))) == 1


@pytest.mark.parametrize(
    "body",
    [
        "return transaction.get(T, k)",
        "return list(transaction.scan(T))",
        "return [key for key, _ in transaction.scan(T)]",
        "return sum(1 for _ in transaction.scan(T))",
        "return list(rows(transaction))",
        "found = list(transaction.scan(T))\n    yield from found",
        "found = transaction.scan(T)\n        found = list(found)\n        return found",
        "def inner():\n            yield 1\n        return list(inner())",
        "x = 1\n    with engine.read() as transaction:\n        return transaction.get(T, k)",
    ],
)
def test_what_is_read_in_the_block_may_leave_it(body: str) -> None:
    assert findings(_example(body)) == []


def _example(body: str) -> ast.Module:
    return ast.parse(
        "from dtrfast.registry import tags\n"
        "def rows(transaction):\n    yield 1\n"
        f"def function(engine):\n    with engine.read() as transaction:\n        {body}\n"
    )

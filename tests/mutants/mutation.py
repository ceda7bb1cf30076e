"""Mutants: single changes of the package's source, each of which a test should notice."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path

# The text of an operator, and the text that replaces it.
_TOKENS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
}
# Mutations of these do not change behavior. Positions inside of f-strings are wrong in Python 3.11.
_SKIPPED = (ast.Import, ast.ImportFrom, ast.JoinedStr, ast.Assert)
_SKIPPED_FIELDS = {"annotation", "returns"}
# Options that make a class smaller, faster or read-only, with the same behavior.
_CLASS_OPTIONS = {"frozen", "slots", "kw_only", "gc", "eq"}
_LOGGERS = {"log", "_log", "logger", "_logger"}


@dataclass(frozen=True, slots=True, order=True)
class Mutant:
    """One replacement of text in one module."""

    path: str  # relative to the root of the tree
    line: int  # from 1
    column: int  # in bytes, from 0
    operator: str  # of mutation
    before: str
    after: str
    # Of the statement, or of a compound statement's head. Import runs decorators and defaults, so
    # they have the lines of the function's body. Outside of functions these are the lines of the
    # module.
    first_line: int
    last_line: int
    text: str  # of the line, to find the place again after other lines have changed

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.operator}: {self.text.strip()}"


Lines = tuple[int, int]  # the first and the last
Change = tuple[str, tuple[int, int], str]  # operator, first byte and end, their replacement


class _Source:
    """The bytes of a module, with positions as `ast` counts them."""

    def __init__(self, text: str) -> None:
        self.lines = text.encode().split(b"\n")
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line) + 1)
        self.data = text.encode()

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self.starts[node.lineno - 1] + node.col_offset
        return start, self.starts[node.end_lineno - 1] + node.end_col_offset

    def swap(self, operator: ast.AST, left: ast.expr, right: ast.expr) -> Change:
        """Return the replacement of an operator between its operands."""
        old, new = _TOKENS[type(operator)]
        start = self.data.index(old.encode(), self.span(left)[1], self.span(right)[0])
        return f"{old} to {new}", (start, start + len(old)), new


def mutants_of(path: str, text: str) -> list[Mutant]:
    """Return all mutants of a module, in the order of its lines."""
    source = _Source(text)
    found = []
    for node, (first, last) in _nodes(ast.parse(text), (1, len(source.lines))):
        for operator, (start, end), after in chain(
            _swaps(source, node), _values(source, node), _statements(source, node)
        ):
            line = source.data.count(b"\n", 0, start) + 1
            column = start - source.starts[line - 1]
            before, shown = source.data[start:end].decode(), source.lines[line - 1].decode()
            found.append(Mutant(path, line, column, operator, before, after, first, last, shown))
    return sorted(found)


def choose(root: Path, seed: int, count: int) -> list[Mutant]:
    """Return a random sample, which is the same for the same seed and the same package."""
    every = [
        mutant
        for path in sorted((root / "dtrfast").rglob("*.py"))
        for mutant in mutants_of(str(path.relative_to(root)), path.read_text(encoding="utf-8"))
    ]
    return sorted(random.Random(seed).sample(every, min(count, len(every))))


def find_moved(mutant: Mutant, root: Path) -> Mutant | None:
    """Find the mutant after other lines of its module changed; None if its own line changed."""
    path = root / mutant.path
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    same = [number for number, line in enumerate(text.split("\n"), 1) if line == mutant.text]
    if not same:
        return None
    shift = min((number - mutant.line for number in same), key=abs)
    first, last = mutant.first_line + shift, mutant.last_line + shift
    here = replace(mutant, line=mutant.line + shift, first_line=first, last_line=last)
    return here if _place(here, text)[1] == mutant.before.encode() else None


def apply(mutant: Mutant, text: str) -> str:
    """Return the module with the change."""
    head, before, tail = _place(mutant, text)
    assert before == mutant.before.encode(), f"{mutant} is not of this module"
    return (head + mutant.after.encode() + tail).decode()


def _place(mutant: Mutant, text: str) -> tuple[bytes, bytes, bytes]:
    source = _Source(text)
    start = source.starts[mutant.line - 1] + mutant.column
    end = start + len(mutant.before.encode())
    return source.data[:start], source.data[start:end], source.data[end:]


def _nodes(
    node: ast.AST, lines: Lines, *, in_function: bool = False
) -> Iterator[tuple[ast.AST, Lines]]:
    """Yield each node that may change, with the lines that run it or depend on it."""
    in_function = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    lines = (in_function and _lines(node)) or lines
    yield node, lines
    for name, value in ast.iter_fields(node):
        if name not in _SKIPPED_FIELDS:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not _is_skipped(child):
                    yield from _nodes(child, lines, in_function=in_function)


def _is_skipped(node: ast.AST) -> bool:
    match node:
        case ast.keyword(arg=name):
            return name in _CLASS_OPTIONS
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))):
            return name in _LOGGERS
    return isinstance(node, _SKIPPED)


def _lines(node: ast.AST) -> Lines | None:
    match node:
        case ast.FunctionDef(body=body) | ast.AsyncFunctionDef(body=body):
            return body[0].lineno, body[-1].end_lineno or 0
        case ast.match_case(pattern=head, body=[first, *_]):
            return head.lineno, max(head.lineno, first.lineno - 1)
        case ast.Match(cases=[case, *_]):
            return node.lineno, case.pattern.lineno - 1
        case ast.stmt() | ast.ExceptHandler():
            inner: list[ast.stmt] = getattr(node, "body", [])
            end = inner[0].lineno - 1 if inner else node.end_lineno
            return node.lineno, max(node.lineno, end or 0)
    return None


def _swaps(source: _Source, node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Compare(left=left, ops=operators, comparators=others):
            for operator, pair in zip(operators, pairwise([left, *others]), strict=True):
                yield source.swap(operator, *pair)
        case ast.BoolOp(op=operator, values=values):
            for pair in pairwise(values):
                yield source.swap(operator, *pair)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as operator, right=right):
            if not _is_text(left) and not _is_text(right):
                yield source.swap(operator, left, right)
        case ast.AugAssign(target=left, op=ast.Add() | ast.Sub() as operator, value=right):
            yield source.swap(operator, left, right)


def _values(source: _Source, node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.UnaryOp(op=ast.Not()):
            start, _ = source.span(node)
            yield "drop not", (start, start + len("not")), ""
        case ast.Constant(value=bool(value)):
            yield f"{value} to {not value}", source.span(node), str(not value)
        case ast.Constant(value=int(value)):
            yield "number + 1", source.span(node), str(value + 1)
            yield "number - 1", source.span(node), f"({value - 1})"


def _statements(source: _Source, node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Expr(value=ast.Call() | ast.Await(value=ast.Call())):
            yield "drop call", source.span(node), "pass"
        case ast.Return(value=ast.Constant(value=value)) if not value:
            return  # None is as false as False
        case ast.Return(value=ast.expr()):
            yield "return None", source.span(node), "return None"
        case ast.Raise():
            yield "drop raise", source.span(node), "pass"
        case ast.Break():
            yield "break to continue", source.span(node), "continue"
        case ast.Continue():
            yield "continue to break", source.span(node), "break"


def _is_text(node: ast.expr) -> bool:
    """Return True for an operand of a sum of texts, because texts have no difference."""
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    )

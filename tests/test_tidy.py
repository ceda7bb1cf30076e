"""Style that no linter knows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import dtrfast
from dtrfast.config import NAMES, Config

ROOT = Path(__file__).parents[1]
FUNCTION_LINES_MAX = 60
# The lines of a body in the product, without its docstring.
BODY_LINES_MAX = 30
FILE_LINES_MAX = 600
PAGE_COLUMNS_MAX = 110
# Names that say nothing: the name of a module is a noun that says its purpose.
BANNED_MODULES = {"utils", "util", "helpers", "helper", "common", "misc", "core", "lib"}
# The marker is spelled in two parts so that this file does not contain it.
LEFTOVER = "FIX" + "ME"

PYTHON = sorted(
    path for folder in ("dtrfast", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)
TEXT_SUFFIXES = {".py", ".pyx", ".pxd", ".pyi", ".c", ".h", ".md", ".toml", ".sh", ".mk"}
TEXTS = sorted(
    path
    for folder in ("dtrfast", "ext", "tests", "docs", "benchmarks", ".ci")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in TEXT_SUFFIXES
)
CONSOLE = ROOT / "dtrfast" / "console"
PAGES = sorted(
    path
    for folder in ("templates", "static")
    for path in (CONSOLE / folder).rglob("*")
    if path.suffix in {".html", ".css", ".js"} and "vendor" not in path.parts
)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_files_are_short() -> None:
    assert [named(path) for path in PYTHON if len(_lines(path)) > FILE_LINES_MAX] == []


def test_functions_are_short() -> None:
    complaints = [
        f"{named(path)}: {function.name} has {length} lines"
        for path in PYTHON
        for function in functions_of(path)
        if (length := (function.end_lineno or function.lineno) - function.lineno + 1)
        > FUNCTION_LINES_MAX
    ]
    assert complaints == []


def test_bodies_of_functions_are_short() -> None:
    complaints = [
        f"{named(path)}: the body of {function.name} has {length} lines"
        for path in PYTHON
        if path.is_relative_to(ROOT / "dtrfast")
        for function in functions_of(path)
        if (length := _body_lines(function)) > BODY_LINES_MAX
    ]
    assert complaints == []


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_lines_of_pages_are_short() -> None:
    complaints = [
        f"{named(path)}:{number} has {len(line)} columns"
        for path in PAGES
        for number, line in enumerate(_lines(path), start=1)
        if len(line) > PAGE_COLUMNS_MAX
    ]
    assert complaints == []


def test_modules_are_named_for_what_they_hold() -> None:
    names = {path.stem for path in (ROOT / "dtrfast").rglob("*.py")}
    assert not names & BANNED_MODULES


def test_every_module_says_what_it_owns() -> None:
    for path in (ROOT / "dtrfast").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not text or ast.get_docstring(ast.parse(text)), f"{named(path)} has no docstring"


# English that a reader stumbles over: CONTRIBUTING.md, "English". Both patterns are split so that
# this file does not match them.
_STANDS_FOR_A_NOUN = re.compile(r"(?:Wh" r"at|Wh" r"ether|Wh" r"o|Wh" r"oever|Ho" r"w|Wh" r"ere)\b")
_A_PERSON = re.compile(r"\b(?:some|no|any)" r"body\b|\bwho" r"ever\b", re.IGNORECASE)


def test_docstrings_open_with_a_verb_or_a_noun() -> None:
    complaints = [
        f"{named(path)}: {docstring.splitlines()[0]}"
        for path in PYTHON
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and (docstring := ast.get_docstring(node) or "")
        and _STANDS_FOR_A_NOUN.match(docstring)
    ]
    assert complaints == []


def test_actors_have_names() -> None:
    """Say caller, client, user, administrator, worker or thread."""
    complaints = [
        f"{named(path)}:{number}: {line.strip()}"
        for path in (*TEXTS, *PAGES, *ROOT.glob("*.md"))
        for number, line in enumerate(_lines(path), start=1)
        if _A_PERSON.search(line)
    ]
    assert complaints == []


def test_nothing_is_left_over() -> None:
    assert [named(path) for path in TEXTS if LEFTOVER in path.read_text(encoding="utf-8")] == []


def test_a_document_has_one_title() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
        assert len(re.findall(r"^# ", text, flags=re.M)) == 1, named(path)


def test_recipes_name_images_of_this_version() -> None:
    for name in ("docs/install.md", "deploy/compose.yaml"):
        text = (ROOT / name).read_text(encoding="utf-8")
        versions = set(re.findall(r"\bdtrfast:([0-9]\S*?)[`}]?\s|VERSION[=:] ?(\S+)", text))
        assert {one or other for one, other in versions} == {dtrfast.__version__}, name


def test_the_changelog_is_of_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[?(\d[\w.]*)", text, flags=re.M)
    assert newest is not None
    assert newest[1] == dtrfast.__version__


def test_the_operations_manual_lists_exactly_the_settings() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+\.\w+)` \| `([^`]*)` \|", text, flags=re.M)
    assert [name for name, _ in rows] == list(NAMES)
    for (name, default), setting in zip(rows, Config().settings(), strict=True):
        assert default == _as_written(setting.value), name


def _as_written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return str(list(value))
    return f"{value:g}" if isinstance(value, float) else str(value) or '""'

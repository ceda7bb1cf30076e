"""The waist: which modules of `index`, `store` and `registry` other packages may import, and which
tables they may touch. The seams are in docs/architecture.md.

A module that is missing here is an inner part of its package. Add it on purpose only: where another
implementation of the seam (an index on PostgreSQL, blobs on S3) would offer the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from dtrfast.index import tables
from dtrfast.index.engine import Table

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dtrfast"
_IMPORT = re.compile(
    r"^[ \t]*(?:import (?P<whole>dtrfast[\w.]*)"
    r"|from (?P<module>dtrfast[\w.]*) import (?P<names>\([^)]*\)|[^\n]*))",
    re.MULTILINE,
)

# Of each package, who may import which of its modules. The longest prefix of the importer counts.
WAIST = {
    "index": {
        # The seam: transactions, and the tables that they are about.
        "store": {"changes", "counts", "engine", "lmdb", "survey", "tables"},
        "registry": {"changes", "counters", "counts", "engine", "epoch", "tables"},
        "identity": {"changes", "counters", "engine", "epoch", "tables"},
        # It copies all tables, and makes an index of them.
        "backup": {"counters", "engine", "tables"},
        # Transactions are passed on; rows are the business of the packages above.
        "api/v0": {"engine", "survey"},
        "jobs": {"changes", "engine"},
        "server": {"engine"},
    },
    "store": {
        # `blobs` is the seam; `limits` are those of the settings that the store has to keep to.
        "registry": {"blobs", "limits"},
        # It copies the store's files by their names, as the index has them.
        "backup": {"change_log", "layout", "pins", "records", "store"},
        "api": {"blobs", "report"},
        "api/v0": {"report"},
        "server": {"blobs", "store"},
        # It wraps the blobs of the facade, which it opens.
        "assembly.py": {"counting", "store"},
        "jobs": {"blobs", "change_log", "report", "store", "tasks"},
        "cli": {"store"},
        "app.py": {"store"},
    },
    "registry": {
        # It tells the store its limits.
        "assembly.py": {"policies"},
        # `registry` is the facade, for one caller.
        "cli": {"registry"},
        "app.py": {"registry"},
        "api": {"ownership", "registry"},
        "api/v1": {"search"},
        "api/v2": {"bodies", "holdings", "manifests", "pages", "registry"},
        # The management API works in transactions of its own, with functions of the domain.
        "api/v0": {
            "budget",
            "configs",
            "deleted",
            "deletion",
            "history",
            "images",
            "jobs",
            "keys",
            "manifests",
            "outlines",
            "ownership",
            "pages",
            "permits",
            "policies",
            "pulls",
            "readmes",
            "records",
            "referrers",
            "registry",
            "removal",
            "repositories",
            "restoring",
            "statistics",
            "tags",
            "trash",
            "untagged",
            "usage",
            "writing",
        },
        "identity": {
            "ownership",
            "permits",
            "policies",
            "records",
            "registry",
            "removal",
            "repositories",
            "writing",
        },
        # Housekeeping makes the holdings, and has the steps of the domain done.
        "jobs": {
            "holdings",
            "holdings_index",
            "jobs",
            "outlines",
            "policies",
            "policing",
            "readmes",
            "registry",
            "removal",
            "replay",
            "repositories",
            "statistics",
            "trash",
            "unheld",
            "usage",
            "writing",
        },
        "server": {"pulls", "registry", "writing"},
    },
}
# Modules outside of the store that touch local tables, and why; nothing else does.
LOCAL_OUTSIDE = {
    "backup/create.py": {"CONTENTS", "FILES", "PACKS", "STORE"},  # it copies what they name
}


def _modules() -> Iterator[str]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix()


@cache
def _imports(module: str) -> frozenset[tuple[str, str]]:
    """Modules of this package that a module imports, with the name that it takes of each."""
    return frozenset(_imports_in((PACKAGE / module).read_text(encoding="utf-8")))


def _imports_in(text: str) -> Iterator[tuple[str, str]]:
    """Found by their text, since parsing all modules takes seconds."""
    for found in _IMPORT.finditer(text):
        if found["whole"]:
            yield found["whole"], ""
            continue
        for part in re.sub(r"[()]|#.*", "", found["names"]).split(","):
            full = f"{found['module']}.{part.split()[0]}" if part.strip() else ""
            if (ROOT / f"{full.replace('.', '/')}.py").exists():
                yield full, ""
            elif full:
                yield found["module"], part.split()[0]


def _crossings(package: str) -> Iterator[tuple[str, str]]:
    """Imports of a package's modules by others: the importer, and the module."""
    for module in _modules():
        if not module.startswith(f"{package}/"):
            for imported, _ in sorted(_imports(module)):
                parts = imported.split(".")
                if parts[:2] == ["dtrfast", package]:
                    yield module, ".".join(parts[2:])


def _rule(package: str, importer: str) -> str:
    """The row that counts for an importer; empty where it may import nothing."""
    rows = [row for row in WAIST[package] if importer == row or importer.startswith(f"{row}/")]
    return max(rows, key=len, default="")


def test_packages_are_entered_through_their_waist() -> None:
    complaints = []
    for package, allowed in WAIST.items():
        for importer, module in _crossings(package):
            rule = _rule(package, importer)
            if module not in allowed.get(rule, ()):
                complaints.append(
                    f"{importer} imports dtrfast.{package}.{module}: offer what it needs at"
                    f" {sorted(allowed.get(rule, ())) or 'a facade'}, or move the code into"
                    f" {package}; to widen the waist on purpose, add {module!r} to"
                    f" WAIST[{package!r}][{rule or importer!r}] in tests/test_waist.py"
                )
    assert complaints == []


def test_the_waist_is_no_wider_than_it_is_used() -> None:
    for package, allowed in WAIST.items():
        used: dict[str, set[str]] = {row: set() for row in allowed}
        for importer, module in _crossings(package):
            used[_rule(package, importer)].add(module)
        assert used == allowed, f"take what is not imported any more out of WAIST[{package!r}]"


def test_one_module_chooses_the_engine() -> None:
    """`test_architecture.py` has the same of the package below it."""
    choosing = {
        module
        for module in _modules()
        if any(imported == "dtrfast.index.lmdb" for imported, _ in _imports(module))
    }
    assert choosing == {"store/store.py"}, "take the engine that the store was opened with"


def _tables(module: str) -> set[str]:
    """Constants of `index/tables.py` that a module imports, and that are tables."""
    return {
        name
        for imported, name in _imports(module)
        if imported == "dtrfast.index.tables" and isinstance(getattr(tables, name, None), Table)
    }


def _touching(scope: str, *, in_store: bool) -> dict[str, set[str]]:
    found = {
        module: {name for name in _tables(module) if getattr(tables, name).scope == scope}
        for module in _modules()
        if module.startswith("store/") == in_store and not module.startswith("index/")
    }
    return {module: names for module, names in found.items() if names}


def test_the_store_keeps_to_local_tables() -> None:
    assert _touching("shared", in_store=True) == {}, (
        "shared tables tell what the registry holds: pass the store what it has to know"
    )


def test_the_store_decodes_changes_and_records_none() -> None:
    """They wait in a shared table. In the files of the log, which are the store's, they are bytes.
    An upgrade records some, in stores of old versions, which have all tables in one environment.
    """
    taken: dict[str, set[str]] = {}
    for module in _modules():
        for imported, name in _imports(module) if module.startswith("store/") else ():
            if imported == "dtrfast.index.changes":
                taken.setdefault(module, set()).add(name)
    assert taken == {
        "store/change_log.py": {"Change", "decode"},
        "store/store.py": {"Change"},
        "store/upgrade.py": {"record"},
    }


def test_nothing_but_the_store_touches_local_tables() -> None:
    assert _touching("local", in_store=False) == LOCAL_OUTSIDE, (
        "local tables tell how bytes lie on this machine: ask the store at its facade"
    )


def test_tables_are_imported_by_name() -> None:
    """Else the two tests above would not see them."""
    for module in _modules():
        assert ("dtrfast.index.tables", "") not in _imports(module), module


def test_every_spelling_of_an_import_is_seen() -> None:
    for text in (
        "from dtrfast.store import claims",
        "    from dtrfast.store import claims as other  # why",
        "from dtrfast.store import (\n    blobs,  # the seam, and\n    claims as other,\n)",
        "import dtrfast.store.claims",
        "from dtrfast.store.claims import (\n    Claims,\n)",
    ):
        modules = {module for module, _ in _imports_in(text)}
        assert "dtrfast.store.claims" in modules, text
    names = set(_imports_in("from dtrfast.index.tables import CHUNKS, number_key as key"))
    assert names == {("dtrfast.index.tables", "CHUNKS"), ("dtrfast.index.tables", "number_key")}


def test_the_rule_of_the_longest_prefix() -> None:
    assert _rule("registry", "api/v2/blobs.py") == "api/v2"
    assert _rule("registry", "api/types.py") == "api"
    assert _rule("registry", "app.py") == "app.py"
    assert _rule("registry", "console/page.py") == ""
    assert _rule("store", "api/v1/search.py") == "api"

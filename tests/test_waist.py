"""The waist: the modules and tables that other packages may use of `index`, `store` and `registry`.

The seams are in docs/architecture.md. A module that is missing here is internal to its package. Add
one only if another implementation of the seam (an index on PostgreSQL, blobs on S3) would offer the
same module.
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

# For each package, the importers and the modules that they may import. The longest matching prefix
# of an importer counts.
WAIST = {
    "index": {
        # The seam: transactions, and the tables that they read and write.
        "store": {"changes", "counts", "engine", "lmdb", "survey", "tables"},
        "registry": {"changes", "counters", "counts", "engine", "epoch", "survey", "tables"},
        "identity": {"changes", "counters", "engine", "epoch", "tables"},
        # A backup copies all tables, and a restore makes an index of them.
        "backup": {"counters", "engine", "tables"},
        "jobs": {"engine"},
        "server": {"engine"},
    },
    "store": {
        # `blobs` is the seam. `limits` has the limits that settings give the store.
        "registry": {"blobs", "limits"},
        # A backup copies the store's files by the names that the index has.
        "backup": {"change_log", "data_directory", "pins", "records", "store"},
        "api": {"blobs", "report"},
        "api/v0": {"report"},
        "server": {"blobs", "store"},
        # The assembly opens the store and wraps its blobs.
        "assembly.py": {"counting", "store"},
        "jobs": {"blobs", "report", "store", "tasks"},
        # A run of the tier has its progress and its result.
        "cli": {"store", "tier.run"},
        "app.py": {"store"},
    },
    "registry": {
        # The assembly reads the store's limits from the policies.
        "assembly.py": {"policies"},
        # `registry` is the facade, for one caller.
        "cli": {"registry"},
        "app.py": {"registry"},
        "api": {"registry"},
        "api/v1": {"search"},
        "api/v2": {"blob_source", "bodies", "holdings", "manifests", "pages", "registry"},
        # The management API calls use cases, with their records.
        # Answers of operations that are records of the domain.
        "console": {"deletion", "restoring"},
        "api/v0": {
            "attachments",
            "deletion",
            "descriptions",
            "images",
            "listing",
            "management",
            "measurements",
            "ownership",
            "pages",
            "permits",
            "policies",
            "records",
            "registry",
            "restoring",
            "search",
            "trash_management",
        },
        "identity": {
            "listing",
            "management",
            "ownership",
            "pages",
            "permits",
            "policies",
            "records",
            "registry",
            "removal",
            "repositories",
            "writing",
        },
        # Housekeeping makes the holdings and runs the steps of the domain.
        "jobs": {
            "holdings",
            "holdings_index",
            "job_records",
            "outlines",
            "pending_changes",
            "policies",
            "policing",
            "readmes",
            "registry",
            "removal",
            "replay",
            "repositories",
            "statistics",
            "unheld",
            "usage",
            "writing",
            "usage_scopes",
        },
        "server": {"pulls", "registry", "writing"},
    },
}
# The only modules outside of the store that use local tables, and the reason.
LOCAL_OUTSIDE = {
    # It copies the rows' files, and a snapshot with replay recipes has a format of its own.
    "backup/create.py": {"CONTENTS", "FILES", "PACKS", "REPLAYS", "STORE"},
}


def _modules() -> Iterator[str]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix()


@cache
def _imports(module: str) -> frozenset[tuple[str, str]]:
    """Return this package's modules that a module imports, each with the imported name."""
    return frozenset(_imports_in((PACKAGE / module).read_text(encoding="utf-8")))


def _imports_in(text: str) -> Iterator[tuple[str, str]]:
    """Find them by the modules' text, since parsing all modules takes seconds."""
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
    """Yield imports of a package's modules by other packages, as importer and module."""
    for module in _modules():
        if not module.startswith(f"{package}/"):
            for imported, _ in sorted(_imports(module)):
                parts = imported.split(".")
                if parts[:2] == ["dtrfast", package]:
                    yield module, ".".join(parts[2:])


def _rule(package: str, importer: str) -> str:
    """Return the row of `WAIST` for an importer; empty if it may import nothing."""
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
    """`test_architecture.py` has the same rule for the package below the engine."""
    choosing = {
        module
        for module in _modules()
        if any(imported == "dtrfast.index.lmdb" for imported, _ in _imports(module))
    }
    assert choosing == {"store/store.py"}, "use the engine of the open store"


def _tables(module: str) -> set[str]:
    """Return the tables that a module imports from `index/tables.py`."""
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
    """Changes and records wait in a shared table. In the store's log files they are bytes.

    An upgrade records some changes, in stores of old versions. Those have all tables in one
    environment.
    """
    taken: dict[str, set[str]] = {}
    for module in _modules():
        for imported, name in _imports(module) if module.startswith("store/") else ():
            if imported == "dtrfast.index.changes":
                taken.setdefault(module, set()).add(name)
    assert taken == {
        "store/change_log.py": {"ChangeRecord", "decode"},
        "store/store.py": {"ChangeRecord"},
        "store/upgrade.py": {"record"},
    }


def test_nothing_but_the_store_touches_local_tables() -> None:
    assert _touching("local", in_store=False) == LOCAL_OUTSIDE, (
        "local tables tell how bytes lie on this machine: ask the store at its facade"
    )


def test_tables_are_imported_by_name() -> None:
    """Otherwise the two tests above would not see them."""
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
    assert _rule("registry", "console/page.py") == "console"
    assert _rule("registry", "outgoing/permit.py") == ""
    assert _rule("store", "api/v1/search.py") == "api"

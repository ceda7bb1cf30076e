"""All paths below the data directory come from `dtrfast/machine/paths.py`, and do not change."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from dtrfast.machine.paths import FIRST_NAMES, Layout

PACKAGE = Path(__file__).parents[1] / "dtrfast"
# Modules that join other paths, and the directory that they start from.
ELSEWHERE = {
    "api/v0/openapi.py": "files of a package",
    "backup/directory.py": "the place of backups",
    "cli/profiles.py": "the user's configuration",
    "console/assets.py": "files of this package",
    "index/lmdb.py": "the lock file, which LMDB names itself",
    "machine/bytes_in_flight.py": "shared memory",
    "machine/limits.py": "control groups",
    "metrics/host.py": "/proc and /sys",
    "store/read_ahead.py": "/sys",
    "testing/registry.py": "a temporary directory",
}
# Endings of variable names in this package that hold a path or a file name.
_PATHS = re.compile(
    r"(data|path|place|root|spool|parent|folder|directory|layout|locks|uploads|name|file)s?$"
)
# A module without these strings needs no parsing, which is slow. The formatter fixes the blanks.
_JOINING = re.compile(r"\s/\s|joinpath|path\.join|Path\(")


def _joins(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            is_text = isinstance(node.right, ast.JoinedStr) or (
                isinstance(node.right, ast.Constant) and isinstance(node.right.value, str)
            )
            if is_text or any(_PATHS.search(_last(side)) for side in (node.left, node.right)):
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            is_joined = called == "Path" and len(node.args) > 1
            if is_joined or called.endswith((".joinpath", "path.join")):
                yield node.lineno, ast.unparse(node)


def _last(node: ast.expr) -> str:
    """Return the last identifier of `a.b.c`, of `a[b]`, or of the function of a call."""
    while isinstance(node, ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def test_no_other_module_joins_names_below_the_data_directory() -> None:
    complaints = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = str(path.relative_to(PACKAGE))
        if name == "machine/paths.py" or name in ELSEWHERE:
            continue
        # The console's templates and texts are files of this package.
        if name.startswith("console/"):
            continue
        text = path.read_text(encoding="utf-8")
        if not _JOINING.search(text):
            continue
        complaints += [
            f"{name}:{line} joins `{join}`: give the path a name in dtrfast/machine/paths.py; of"
            " another directory than that of the data, list the module in ELSEWHERE"
            for line, join in _joins(ast.parse(text))
        ]
    assert complaints == []


def test_every_exception_joins_names() -> None:
    for name in ELSEWHERE:
        assert any(_joins(ast.parse((PACKAGE / name).read_text(encoding="utf-8")))), name


def test_every_spelling_of_a_join_is_seen() -> None:
    for text in (
        "data / 'audit'",
        "x / f'{number}.log'",
        "self._directory / name",
        "layout.data / entry",
        "Layout(data).uploads / number()",
        "self._folders[digit] / text",
        "Path(data, 'audit')",
        "data.joinpath('audit')",
        "os.path.join(data, 'audit')",
    ):
        assert list(_joins(ast.parse(text))), text
    for text in ("size / seconds", "count / max(1, total)", "self._done / self._rate"):
        assert not list(_joins(ast.parse(text))), text


def test_paths_on_disk_are_as_they_were() -> None:
    layout, file_id = Layout(Path("/d")), bytes.fromhex("00112233445566778899aabbccddeeff")
    text = "00112233-4455-6677-8899-aabbccddeeff"
    assert layout.blob(file_id) == Path(f"/d/blobs/f/{file_id.hex()}")
    assert layout.pack(file_id) == Path(f"/d/packs/f/{file_id.hex()}")
    assert layout.upload(file_id, "state") == Path(f"/d/uploads/{text}.state")
    assert layout.upload_named(text, "state") == layout.upload(file_id, "state")
    assert layout.application_lock(3) == Path("/d/.application-3.lock")
    assert layout.log_kept("audit/00000001.jsonl").parent == layout.audit
    files = ("format", "restoring", "server_lock", "housekeeper_lock", "tries")
    assert [str(getattr(layout, name).relative_to("/d")) for name in files] == [
        "format",
        "restoring",
        "server.lock",
        "housekeeper.lock",
        "tries",
    ]
    folders = "index log audit blobs packs uploads locks pins server-log metrics tls"
    assert [path.name for path in layout.directories] == folders.split()
    below = (layout.claims, layout.recalls, layout.open_uploads)
    assert [str(path) for path in below] == [
        "/d/locks/claims",
        "/d/locks/recalls",
        "/d/locks/uploads",
    ]
    pair = (layout.certificate_pair, layout.certificate)
    assert [str(path) for path in pair] == ["/d/tls/server.pem", "/d/tls/server.crt"]
    # Only a store creates `metrics`, `server-log` and `tls`.
    assert {path.name for path in layout.directories} - FIRST_NAMES == {
        "metrics",
        "server-log",
        "tls",
    }

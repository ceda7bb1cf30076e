"""Rules of imports: layers, and the only modules that may use a package or a function.

docs/architecture.md has the picture.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dtrfast"

# Each layer may import itself and those before it.
LAYERS = (
    {"__init__", "errors", "times"},
    {"machine"},
    {"config", "metrics"},
    {"outgoing"},
    {"_core"},
    {"oci"},
    {"markdown"},
    {"index"},
    {"store"},
    {"backup", "registry", "logs"},
    {"assembly"},
    {"identity"},
    {"api", "jobs"},
    {"console"},
    {"server"},
    {"app"},
    {"cli"},
    {"testing"},
    {"__main__"},
)
# Modules that pure and low layers must not import, although these come before them.
FORBIDDEN = {
    "oci": {"config", "index", "_core", "machine", "outgoing"},
    "_core": {"errors", "config"},
    "index": {"machine", "outgoing"},
    "store": {"outgoing"},
}

# A third-party package, and the only modules that may import it.
OWNERS = {
    "lmdb": ("index/lmdb.py",),
    "starlette": ("api/", "console/", "app.py"),
    "psutil": ("metrics/",),
    "jinja2": ("console/rendering.py",),
    "markupsafe": ("console/rendering.py", "console/formatting.py"),
    "markdown_it": ("markdown.py",),
    "nh3": ("markdown.py",),
    "anyio": ("api/",),
    "hypercorn": ("server/",),
    "h11": ("server/",),
    "uvloop": ("server/",),
    "argon2": ("identity/passwords.py",),
    "joserfc": ("identity/",),
    "ldap3": ("identity/ldap/",),
    "obstore": ("backup/bucket.py",),
    "httpcore": ("outgoing/",),
    "httpx": ("outgoing/permit.py", "cli/api_client.py", "cli/local_api.py", "testing/registry.py"),
    "pytest": ("testing/fixtures.py",),
    # Modules of the standard library that call other hosts: no module may import them.
    "urllib.request": (),
    "http.client": (),
    "ftplib": (),
    "smtplib": (),
    "telnetlib": (),
    "xmlrpc.client": (),
    "cyclopts": ("cli/",),
    "rich": ("cli/",),
}
# Functions that connect to another host, and the modules that may call them. Modules of the server
# ask `outgoing` for permission. The command line acts for its user and needs none; `testing` calls
# only the server that it starts.
CONNECTING = {
    "httpx.Client": ("cli/api_client.py", "testing/registry.py"),
    "httpx.AsyncClient": ("cli/local_api.py",),  # a client for the application in this process
    "httpx.get": ("cli/api_client.py",),
    "httpx.request": (),
    "httpx.post": (),
    "httpx.stream": (),
    "httpcore.ConnectionPool": ("outgoing/http.py",),
    "httpcore.SyncBackend": ("outgoing/network.py",),
    "ldap3.Server": ("identity/ldap/client.py",),
    "ldap3.Connection": ("identity/ldap/client.py",),
    "obstore.store.S3Store.from_url": ("backup/bucket.py",),
    "obstore.store.S3Store": (),
    "obstore.store.from_url": (),
    "socket.create_connection": (),
    # Listening sockets, sockets that are handed over, and the look-up of an address without a
    # packet.
    "socket.socket": (
        "server/",
        "machine/certificates.py",
    ),
    "asyncio.open_connection": (),
    "ssl.get_server_certificate": (),
}
# Functions that query this machine, and the modules that may call them.
MACHINE = {
    "os.statvfs": ("machine/space.py",),
    "shutil.disk_usage": (),
    "os.getloadavg": ("metrics/host.py",),
    # The server's locks are in `locks`. The embedded store has locks of its own, and `tries` has
    # one.
    "fcntl.flock": ("machine/", "store/", "identity/tries.py"),
    "fcntl.lockf": (),
    "fcntl.fcntl": ("machine/bytes_in_flight.py", "store/claims.py"),
}
# Files of the kernel, and the modules that may read them.
KERNEL = {
    "/proc/self/mountinfo": ("machine/mounts.py",),
    "/proc/self/mounts": (),
    "/proc/": ("machine/", "metrics/"),
    "/sys/": ("metrics/host.py", "store/read_ahead.py"),
    "/dev/shm": ("machine/bytes_in_flight.py",),
}
ASKING = ("outgoing/http.py", "identity/ldap/client.py", "backup/bucket.py")
SYNCHRONOUS = (
    "machine",
    "outgoing",
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
    """Return the layer of `dtrfast.x.y`, or of the path `x/y.py`."""
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


def parsed() -> Iterator[tuple[str, ast.Module]]:
    """Return each module of the package, parsed once."""
    for path in MODULES:
        yield named(path), _parse(path)


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_layers_import_downwards() -> None:
    assert [complaint for name, tree in parsed() for complaint in _upward(name, tree)] == []


def _upward(name: str, tree: ast.Module) -> Iterator[str]:
    here = name.split("/")[0].removesuffix(".py")
    same_level = LAYERS[layer_of(name)] - {here}
    for imported, _ in imports_of(tree):
        if imported.split(".")[0] != "dtrfast":
            continue
        there = imported.split(".")[1] if "." in imported else "__init__"
        is_beside = there in same_level and name != "__init__.py"
        is_above = layer_of(imported) > layer_of(name)
        if is_above or is_beside or there in FORBIDDEN.get(here, ()):
            yield f"{name} must not import {imported}"


def test_third_parties_have_one_owner() -> None:
    complaints = [
        f"{name} must not import {imported}"
        for name, tree in parsed()
        for imported in {*_modules(tree), *_names(tree).values()}
        if not name.startswith(_owners_of(imported))
    ]
    assert complaints == []


def _owners_of(imported: str) -> tuple[str, ...]:
    """Return the owners of a module, of the module that a name comes from, or of its package."""
    names = (imported, imported.rpartition(".")[0], imported.split(".")[0])
    return next((OWNERS[name] for name in names if name in OWNERS), ("",))


def _names(tree: ast.AST) -> dict[str, str]:
    """Map the names that imports bind to full names: `Client` → `httpx.Client`."""
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        if isinstance(node, ast.ImportFrom)
        else alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


def test_other_hosts_are_called_where_outgoing_decides() -> None:
    found = [(name, called) for name, tree in parsed() for called in _calls(tree)]
    complaints = [
        f"{name} calls {called}"
        for name, called in found
        if called in CONNECTING and not name.startswith(CONNECTING[called] or ("/",))
    ]
    assert complaints == []
    assert {called for _, called in found} >= {key for key, owners in CONNECTING.items() if owners}
    asking = {n for n, tree in parsed() if "dtrfast.outgoing.permit" in _modules(tree)}
    assert asking >= set(ASKING)


def test_this_machine_is_asked_behind_one_interface() -> None:
    complaints = []
    for name, tree in parsed():
        complaints += [
            f"{name} calls {called}: ask dtrfast/machine"
            for called in _calls(tree) & MACHINE.keys()
            if not name.startswith(MACHINE[called] or ("/",))
        ]
        for node in ast.walk(tree):
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            text = ast.literal_eval(node) if is_text else ""
            path = next((path for path in KERNEL if text.startswith(path)), None)
            if path is not None and not name.startswith(KERNEL[path] or ("/",)):
                complaints.append(f"{name} reads {text}: ask dtrfast/machine")
    assert complaints == []


def _calls(tree: ast.AST) -> set[str]:
    """Return the called functions by their full names, whatever the import calls them."""
    names = _names(tree)
    called = {_dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    split = [name.partition(".") for name in called]
    return {names.get(first, first) + dot + rest for first, dot, rest in split}


def _dotted(node: ast.expr) -> str:
    """Return an expression such as `a.b.c` as text; empty for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    inner = _dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{inner}.{node.attr}" if inner and isinstance(node, ast.Attribute) else ""


def test_every_spelling_of_a_call_to_another_host_is_seen() -> None:
    for text, name in (
        ("import socket as s\ns.create_connection(x)", "socket.create_connection"),
        ("from socket import create_connection as c\nc(x)", "socket.create_connection"),
        ("from httpx import Client\nClient()", "httpx.Client"),
        (
            "from obstore.store import S3Store\nS3Store.from_url(x)",
            "obstore.store.S3Store.from_url",
        ),
    ):
        assert name in _calls(ast.parse(text)) & CONNECTING.keys()
    for text in ("from urllib import request", "import urllib.request", "from http import client"):
        tree = ast.parse(text)
        found = {*_modules(tree), *_names(tree).values()}
        assert any(_owners_of(imported) == () for imported in found), text


def _modules(tree: ast.AST) -> set[str]:
    return {imported for imported, _ in imports_of(tree)}


def test_imports_are_absolute() -> None:
    complaints = [
        f"{name}:{node.lineno} is a relative import"
        for name, tree in parsed()
        for _, node in imports_of(tree)
        if isinstance(node, ast.ImportFrom) and node.level > 0
    ]
    assert complaints == []


# Clients of other services take 0.16 s to import, and most processes never call another host.
LOADED_BY_THE_FIRST_CALL = {"httpx", "dtrfast.outgoing.http"}


def test_imports_stand_at_the_top() -> None:
    complaints = [
        f"{name}:{node.lineno} imports inside {function.name}"
        for name, tree in parsed()
        if not name.startswith("cli/")  # commands import a module only when they need it
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for imported, node in imports_of(function)
        if imported not in LOADED_BY_THE_FIRST_CALL
    ]
    assert complaints == []


def test_threads_are_hopped_to_in_one_place() -> None:
    complaints = []
    for name, tree in parsed():
        for node in ast.walk(tree):
            used = (
                node.attr
                if isinstance(node, ast.Attribute)
                else node.id
                if isinstance(node, ast.Name)
                else ""
            )
            if used in HOPS and name != "server/threads.py":
                complaints.append(f"{name} uses {used}")
    assert complaints == []


def test_what_is_below_the_api_is_synchronous() -> None:
    complaints = []
    for name, tree in parsed():
        if not name.startswith(SYNCHRONOUS):
            continue
        complaints += [
            f"{name}:{node.lineno} is asynchronous"
            for node in ast.walk(tree)
            if isinstance(node, ast.AsyncFunctionDef | ast.Await)
        ]
        if "asyncio" in {module for module, _ in imports_of(tree)}:
            complaints.append(f"{name} imports asyncio")
    assert complaints == []


def test_every_package_has_an_empty_init_unless_it_is_public() -> None:
    public = {PACKAGE / "__init__.py", PACKAGE / "testing" / "__init__.py"}
    for path in PACKAGE.rglob("__init__.py"):
        if path not in public:
            assert path.read_text() == "", f"{named(path)} must be empty"

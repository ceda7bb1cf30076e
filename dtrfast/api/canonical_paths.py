"""The canonical spelling of each path, which is found before any decision about the request.

The router, the lanes, the access log and the metrics use this spelling only, so all of them see the
same path. Only spellings that mean the same get the same canonical path. Other paths stay as they
were sent, and no grammar accepts them.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, unquote

from starlette.types import Scope

from dtrfast.errors import Invalid

# The characters that a path may contain unescaped, without the slash (RFC 3986 section 3.3). Names,
# tags and digests consist of them.
_PLAIN = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@"
)
_escapes = re.compile("%([0-9A-Fa-f]{2})")
_slashes = re.compile("//+")
# Pieces of these paths are names. A path with an empty piece must not become the path of another
# operation.
_management = re.compile("/+api/+v0(?=/)")
# A repository's name, and the rest of the path. Some clients send the name as one piece.
_named = re.compile(
    "/v2/(.+)(/(?:tags/list|(?:manifests|blobs|referrers)/[^/]*|blobs/uploads(?:/[^/]*)?))/?"
)
# The API refuses an empty piece after these.
_INCOMPLETE = ("/blobs/", "/manifests/", "/referrers/", "/blobs/uploads/")
_absolute = re.compile(
    r"https?://((?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::[0-9]*)?)"
    r"(/.*)?",
    re.IGNORECASE | re.DOTALL,
)
_match_authority = re.compile(
    r"(?:[A-Za-z0-9._-]{1,253}|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?"
).fullmatch
# Most paths are canonical already.
_is_usual = re.compile(rb"(?:/[^/%]+)+|/(?:v2/)?").fullmatch


def canonical_path(path: str) -> str:
    """Return the canonical spelling of a path. The path begins with a slash and has no query.

    Escapes of plain characters are decoded, and repeated slashes become one. In a repository's name
    an escaped slash becomes a slash. `%25` is not decoded, so a canonical path stays as it is.
    """
    path = _escapes.sub(_undo_escape, path)
    management = _management.match(path)
    if management is not None:
        return "/api/v0" + _drop_last_slash(path[management.end() :])
    path = _slashes.sub("/", path)
    if not path.startswith("/v2/"):
        return _drop_last_slash(path) or "/"
    path = _undo_slashes(path)
    return path if path == "/v2/" or path.endswith(_INCOMPLETE) else _drop_last_slash(path)


def is_authority(text: str) -> bool:
    """Return True if a text is a host, perhaps with a port, that a URL can contain."""
    match = _match_authority(text)
    if match is None or int(match[2] or 0) > 65_535:
        return False
    try:
        return match[1] is None or bool(ipaddress.IPv6Address(match[1]))
    except ValueError:
        return False


def normalize(scope: Scope) -> None:
    """Set the path of a request's scope to its canonical spelling, and the scope's host.

    The host of a request line in absolute form replaces the header Host (RFC 9112 section 3.2.2).
    Raises `Invalid`.
    """
    raw: bytes | None = scope.get("raw_path")
    if raw is not None and _is_usual(raw):
        return
    root = str(scope.get("root_path", ""))
    path = quote(scope["path"]) if raw is None else raw.decode("latin-1")
    if scope["http_version"].startswith("1"):
        path = _take_host(scope, path)
    if not path.startswith("/"):
        return  # such as OPTIONS *
    mounted = root if root and path.startswith(f"{root}/") else ""
    path = mounted + canonical_path(path[len(mounted) :])
    scope["raw_path"] = path.encode("latin-1")
    scope["path"] = unquote(path)


def _take_host(scope: Scope, target: str) -> str:
    """Return the path of a request target. The host of a target in absolute form becomes the
    scope's header Host.
    """
    if target.startswith("/") or "://" not in target:
        return target
    match = _absolute.fullmatch(target)
    if match is None:
        raise Invalid("the request line names no host: send the path alone, such as /v2/")
    host = match[1].encode("latin-1")
    others = [(name, value) for name, value in scope["headers"] if name != b"host"]
    scope["headers"] = [(b"host", host), *others]
    return match[2] or "/"


def _undo_escape(match: re.Match[str]) -> str:
    code = int(match[1], 16)
    return chr(code) if code in _PLAIN else match[0]


def _undo_slashes(path: str) -> str:
    """Decode the escaped slashes of a repository's name. In a tag, a digest or an id they stay."""
    found = _named.fullmatch(path) if "%2F" in path or "%2f" in path else None
    if found is None:
        return path
    name = found[1].replace("%2F", "/").replace("%2f", "/")
    return _slashes.sub("/", f"/v2/{name}{path[found.end(1) :]}")


def _drop_last_slash(path: str) -> str:
    return path[:-1] if path.endswith("/") and not path.endswith("//") else path

"""Answers of 401, with the challenge that all clients understand: the token service and the scope.

Sources: the Distribution project's token specification, and RFC 6750 section 3 for `error`.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from dtrfast.api.canonical_paths import is_authority
from dtrfast.api.errors import error_response
from dtrfast.api.types import ApiContext
from dtrfast.errors import CallerUnknown, NameInvalid, ScopeTooSmall, SignInRequired
from dtrfast.oci.names import RepositoryName

TOKEN_PATH = "/auth/token"
CATALOG_SCOPE = "registry:catalog:*"


def external_url(context: ApiContext, scope: Scope) -> str:
    """Return the URL at which the client reaches this registry, without a slash at its end."""
    if context.config.server.external_url:
        return context.config.server.external_url
    host = Headers(scope=scope).get("host", "")
    if not is_authority(host):
        address, port = scope.get("server") or ("localhost", None)
        host = f"{address}:{port}" if port else str(address)
    return f"{scope['scheme']}://{host}"


def scope_of(name: str, actions: str, source: str = "") -> str:
    """Return the scopes that a token needs for a request; empty if any token is enough.

    `source` is the repository that a blob is mounted from. The caller must be able to read it.
    """
    wanted = [f"repository:{name}:{actions}"] if _is_name(name) else []
    if wanted and source != name and _is_name(source):
        wanted.append(f"repository:{source}:pull")
    return " ".join(wanted)


def _is_name(text: str) -> bool:
    try:
        return bool(text and RepositoryName.parse(text))
    except NameInvalid:
        return False


def response(context: ApiContext, scope: Scope, error: CallerUnknown, wanted: str = "") -> Response:
    """Return the answer to a caller without a valid credential. `wanted` are the scopes that the
    request needs.
    """
    realm = external_url(context, scope) + scope.get("root_path", "") + TOKEN_PATH
    service = "" if context.identity is None else context.identity.bearers.audience
    parts = [f'realm="{realm}"', f'service="{service}"']
    if wanted:
        parts.append(f'scope="{wanted}"')
    if isinstance(error, ScopeTooSmall):
        parts.append('error="insufficient_scope"')
    elif not isinstance(error, SignInRequired):
        # containerd asks for a new token only if it sees this; else it sends the old one again.
        parts.append('error="invalid_token"')
    return error_response(error, {"www-authenticate": f"Bearer {','.join(parts)}"})

"""401 with the one challenge that all clients understand: where to get a token, and what for.

The Distribution project's token specification; RFC 6750 section 3 for `error`.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from dtrfast.api.addresses import is_authority
from dtrfast.api.errors import error_response
from dtrfast.api.types import Context
from dtrfast.errors import NameInvalid, ScopeTooSmall, SignInRequired, Unidentified
from dtrfast.oci.names import RepositoryName

TOKEN_PATH = "/auth/token"
CATALOG_SCOPE = "registry:catalog:*"


def external_url(context: Context, scope: Scope) -> str:
    """Where the client reaches this registry, without a slash at its end."""
    if context.config.server.external_url:
        return context.config.server.external_url
    host = Headers(scope=scope).get("host", "")
    if not is_authority(host):
        address, port = scope.get("server") or ("localhost", None)
        host = f"{address}:{port}" if port else str(address)
    return f"{scope['scheme']}://{host}"


def scope_of(name: str, actions: str, source: str = "") -> str:
    """The scopes that a token needs for a request; empty where any token will do.

    `source` is the repository that a blob is mounted from, which has to be readable.
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


def response(context: Context, scope: Scope, error: Unidentified, wanted: str = "") -> Response:
    """The answer to who has to say, or to prove, who they are."""
    realm = external_url(context, scope) + scope.get("root_path", "") + TOKEN_PATH
    service = "" if context.identity is None else context.identity.bearers.audience
    parts = [f'realm="{realm}"', f'service="{service}"']
    if wanted:
        parts.append(f'scope="{wanted}"')
    if isinstance(error, ScopeTooSmall):
        parts.append('error="insufficient_scope"')
    elif not isinstance(error, SignInRequired):
        # containerd asks for a new token when it sees this, and otherwise sends the old one again.
        parts.append('error="invalid_token"')
    return error_response(error, {"www-authenticate": f"Bearer {','.join(parts)}"})

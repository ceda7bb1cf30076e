"""The token service: GET as in the Distribution project, POST as in OAuth 2 (RFC 6749); and keys.

The token is for those requested scopes that the caller may use, which may be none. A refusal says
only that a name and a secret do not match.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qs

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dtrfast.api import challenge, visits
from dtrfast.api.errors import error_response
from dtrfast.api.small_bodies import read_small
from dtrfast.api.types import ApiContext
from dtrfast.errors import CallerUnknown, DtrfastError, Invalid, SignInFailed
from dtrfast.identity import scopes
from dtrfast.identity.bearer import Access
from dtrfast.identity.caller_permits import CallerPermits
from dtrfast.identity.callers import ANONYMOUS, Caller
from dtrfast.identity.guard import parse_basic
from dtrfast.identity.identity import Identity
from dtrfast.identity.sign_in import JOB_NAME

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"

_JSON = {"content-type": "application/json", "cache-control": "no-store"}
_FORM_SIZE_MAX = 65_536

_encoder = msgspec.json.Encoder()


def routes(context: ApiContext) -> list[Route]:
    if context.identity is None:
        return []
    service = _TokenService(context, context.identity)
    return [
        Route(challenge.TOKEN_PATH, service.token, methods=["GET", "POST"]),
        Route("/auth/keys", service.keys),
        Route("/.well-known/jwks.json", service.keys),
    ]


@dataclass(frozen=True, slots=True)
class _TokenRequest:
    """A request for a token, and for a refresh token if `is_offline`. `prove` returns the caller.
    It may wait: for argon2, a directory, or an issuer's keys.
    """

    access: list[Access]
    is_offline: bool
    prove: Callable[[], Caller]


class _TokenService:
    def __init__(self, context: ApiContext, identity: Identity) -> None:
        self._context = context
        self._identity = identity

    async def token(self, request: Request) -> Response:
        try:
            if request.method == "POST":
                seconds = self._context.config.server.idle_body_seconds
                body = await read_small(request.receive, _FORM_SIZE_MAX, seconds)
                wanted = self._read_form(_parse_form(body), visits.remote_of(request.scope))
            else:
                wanted = self._read_query(request)
            answer = await self._context.hop.run(self._answer, wanted)
        except CallerUnknown as error:
            realm = challenge.external_url(self._context, request.scope)
            return error_response(error, {"www-authenticate": f'Basic realm="{realm}"'})
        except DtrfastError as error:
            return error_response(error)
        return Response(answer, headers=_JSON)

    async def keys(self, request: Request) -> Response:
        published = await self._context.hop.run(self._identity.keys.published)
        headers = {"content-type": "application/jwk-set+json", "cache-control": "max-age=300"}
        return Response(_encoder.encode({"keys": published}), headers=headers)

    def _read_query(self, request: Request) -> _TokenRequest:
        query = request.query_params
        access = scopes.parse(query.getlist("scope"))
        header = request.headers.get("authorization", "")
        prove = partial(self._prove_header, header, access, visits.remote_of(request.scope))
        return _TokenRequest(access, query.get("offline_token") == "true", prove)

    def _read_form(self, form: Mapping[str, str], remote: str) -> _TokenRequest:
        access = scopes.parse([form.get("scope", "")])
        sign_in, grant_type = self._identity.sign_in, form.get("grant_type", "")
        prove: Callable[[], Caller]
        if grant_type == "password":
            name, secret = form.get("username", ""), form.get("password", "")
            prove = partial(self._prove, name, secret, access, remote)
        elif grant_type == "refresh_token":
            prove = partial(sign_in.refresh, form.get("refresh_token", ""), remote)
        elif grant_type == EXCHANGE:
            names = scopes.repositories(access)
            prove = partial(sign_in.job, form.get("subject_token", ""), names, remote)
        else:
            raise Invalid("grant_type is password, refresh_token or " + EXCHANGE)
        return _TokenRequest(access, form.get("access_type") == "offline", prove)

    def _prove_header(self, header: str, access: list[Access], remote: str) -> Caller:
        scheme, _, value = header.partition(" ")
        if not header:
            return ANONYMOUS
        if scheme.lower() != "basic":
            raise SignInFailed("the token service takes Basic: a name, and a password or a token")
        name, secret = parse_basic(value.strip())
        # Some clients without credentials send an empty name and secret.
        return self._prove(name, secret, access, remote) if name or secret else ANONYMOUS

    def _prove(self, name: str, secret: str, access: list[Access], remote: str) -> Caller:
        if name == JOB_NAME:
            return self._identity.sign_in.job(secret, scopes.repositories(access), remote)
        return self._identity.sign_in.basic(name, secret, remote)

    def _answer(self, wanted: _TokenRequest) -> bytes:
        """Prove the caller, and return the whole answer."""
        caller, bearers = wanted.prove(), self._identity.bearers
        granted = scopes.grant(self._identity.engine, CallerPermits(caller), wanted.access)
        issued = bearers.issue(caller, granted)
        # The optional `issued_at` is missing on purpose. From it docker and podman compute the end
        # of a token by their own clock: if that is slow, they keep an expired token.
        answer: dict[str, object] = {
            "token": issued.text,
            "access_token": issued.text,
            "token_type": "Bearer",
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "expires_in": issued.seconds,
            "scope": scopes.text_of(granted),
        }
        if wanted.is_offline and caller.kind == "user" and caller.method in ("password", "refresh"):
            answer["refresh_token"] = bearers.issue_refresh(caller)
        return _encoder.encode(answer)


def _parse_form(body: bytes) -> dict[str, str]:
    """Return the first value of each field. Raises `Invalid`."""
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=100)
    except ValueError as error:
        raise Invalid("the body is not application/x-www-form-urlencoded") from error
    return {name: values[0] for name, values in fields.items()}

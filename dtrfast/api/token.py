"""The token service: GET as docker has it, POST as OAuth 2 has it (RFC 6749), and the keys.

Both answer with a token for what of the asked scopes the caller may do, which may be nothing. An
answer that refuses tells nothing but that name and secret do not belong together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qs

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dtrfast.api import challenge, visits
from dtrfast.api.body import read_small
from dtrfast.api.errors import error_response
from dtrfast.api.types import Context
from dtrfast.errors import DtrfastError, Invalid, SignInFailed, Unidentified
from dtrfast.identity import scopes
from dtrfast.identity.access import CallerPermits
from dtrfast.identity.bearer import Access
from dtrfast.identity.callers import ANONYMOUS, Caller
from dtrfast.identity.guard import parse_basic
from dtrfast.identity.identity import Identity
from dtrfast.identity.sign_in import JOB_NAME

_JSON = {"content-type": "application/json", "cache-control": "no-store"}
_FORM_SIZE_MAX = 65_536
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is asked for. `offline`: a refresh token as well."""

    access: list[Access]
    offline: bool


def routes(context: Context) -> list[Route]:
    identity = context.identity
    if identity is None:
        return []

    async def token(request: Request) -> Response:
        try:
            if request.method == "POST":
                seconds = context.config.server.idle_body_seconds
                body = await read_small(request.receive, _FORM_SIZE_MAX, seconds)
                wish, prove = _read_form(request, identity, _parse_form(body))
            else:
                wish, prove = _read_query(request, identity)
            answer = await context.hop.run(_answer, identity, wish, prove)
        except Unidentified as error:
            return error_response(error, {"www-authenticate": f'Basic realm="{_realm(request)}"'})
        except DtrfastError as error:
            return error_response(error)
        return Response(answer, headers=_JSON)

    async def keys(request: Request) -> Response:
        published = await context.hop.run(identity.keys.published)
        headers = {"content-type": "application/jwk-set+json", "cache-control": "max-age=300"}
        return Response(_encoder.encode({"keys": published}), headers=headers)

    def _realm(request: Request) -> str:
        return challenge.external_url(context, request.scope)

    return [
        Route(challenge.TOKEN_PATH, token, methods=["GET", "POST"]),
        Route("/auth/keys", keys),
        Route("/.well-known/jwks.json", keys),
    ]


Prove = Callable[[], Caller]


def _read_query(request: Request, identity: Identity) -> tuple[_Wish, Prove]:
    query = request.query_params
    access = scopes.parse(query.getlist("scope"))
    wish = _Wish(access, query.get("offline_token") == "true")
    return wish, partial(_prove_header, request, identity, wish)


def _prove_header(request: Request, identity: Identity, wish: _Wish) -> Caller:
    header = request.headers.get("authorization", "")
    scheme, _, value = header.partition(" ")
    if not header:
        return ANONYMOUS
    if scheme.lower() != "basic":
        raise SignInFailed("the token service takes Basic: a name, and a password or a token")
    user, secret = parse_basic(value.strip())
    if not user and not secret:
        return ANONYMOUS  # how some clients say that they have no credentials
    return _prove(request, identity, wish, user, secret)


def _prove(request: Request, identity: Identity, wish: _Wish, user: str, secret: str) -> Caller:
    remote = visits.remote_of(request.scope)
    if user == JOB_NAME:
        return identity.sign_in.job(secret, scopes.repositories(wish.access), remote)
    return identity.sign_in.basic(user, secret, remote)


def _read_form(request: Request, identity: Identity, form: dict[str, str]) -> tuple[_Wish, Prove]:
    access = scopes.parse([form.get("scope", "")])
    wish = _Wish(access, form.get("access_type") == "offline")
    grant_type = form.get("grant_type", "")
    remote = visits.remote_of(request.scope)
    if grant_type == "password":
        name, secret = form.get("username", ""), form.get("password", "")
        return wish, partial(_prove, request, identity, wish, name, secret)
    if grant_type == "refresh_token":
        return wish, partial(identity.sign_in.refresh, form.get("refresh_token", ""), remote)
    if grant_type == EXCHANGE:
        names = scopes.repositories(access)
        return wish, partial(identity.sign_in.job, form.get("subject_token", ""), names, remote)
    raise Invalid("grant_type is password, refresh_token or " + EXCHANGE)


def _parse_form(body: bytes) -> dict[str, str]:
    """The first value of each field. Raises `Invalid`."""
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=100)
    except ValueError as error:
        raise Invalid("the body is not application/x-www-form-urlencoded") from error
    return {name: values[0] for name, values in fields.items()}


def _answer(identity: Identity, wish: _Wish, prove: Prove) -> bytes:
    """The whole answer. May wait: for argon2, a directory, or an issuer's keys."""
    caller = prove()
    permits = CallerPermits(caller)
    with identity.engine.read() as transaction:
        granted = scopes.grant(transaction, permits, wish.access)
    issued = identity.bearers.issue(caller, granted)
    # No `issued_at`, which is optional: docker and podman reckon a token's end from it by their own
    # clock, and one that is behind keeps a token that has expired. Without it they count from when
    # the answer came.
    answer: dict[str, object] = {
        "token": issued.text,
        "access_token": issued.text,
        "token_type": "Bearer",
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "expires_in": issued.seconds,
        "scope": scopes.text_of(granted),
    }
    if wish.offline and caller.kind == "user" and caller.method in ("password", "refresh"):
        answer["refresh_token"] = identity.bearers.issue_refresh(caller)
    return _encoder.encode(answer)

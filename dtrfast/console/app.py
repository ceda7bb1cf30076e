"""The console's routes: from a request to its page function and back.

Page functions are synchronous and run on a thread, as operations do. What they raise becomes a
page; who has to sign in is sent there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dtrfast.api import browsers, challenge, visits
from dtrfast.api.body import read_small
from dtrfast.api.errors import row_of
from dtrfast.api.types import Context
from dtrfast.api.v0.asking import Asker
from dtrfast.config import Config, is_loopback_host, split_address
from dtrfast.console import actions, assets, flashes, forms, frame, live, rendering
from dtrfast.console.page import Page, PageFunction, View
from dtrfast.console.pages import (
    dashboard,
    images,
    logs,
    organizations,
    repositories,
    search,
    settings,
    sign_in,
    users,
    welcome,
)
from dtrfast.errors import Denied, DtrfastError, Unidentified
from dtrfast.identity import sessions
from dtrfast.identity.callers import ANONYMOUS, Caller
from dtrfast.identity.identity import Identity

_FORM_SIZE_MAX = 2 << 20
_COMPRESSED_SIZE_MIN = 1024
_QUERY_FIELDS_MAX = 1000
# A field of a document, which a refusal begins with: `scopes[0].repository`.
_FIELD = re.compile(r"[A-Za-z]+(?:\[\d+\])?(?:\.[A-Za-z]+(?:\[\d+\])?)*")
# Who serves everybody everything has nobody to sign in.
_EVERYBODY = Caller("system", "anonymous", method="local")

_GET: dict[str, PageFunction] = {
    "/": sign_in.home,
    "/sign-in": sign_in.show,
    "/welcome": welcome.show,
    "/dashboard": dashboard.show,
    "/dashboard/course": dashboard.course,
    "/search": search.show,
    **repositories.PAGES,
    **images.PAGES,
    **organizations.PAGES,
    **users.PAGES,
    **settings.PAGES,
    **logs.PAGES,
    **repositories.LAST,
}
_POST: dict[str, PageFunction] = {
    "/sign-in": sign_in.enter,
    "/sign-out": sign_in.leave,
    "/do/{operation}": actions.do,
}


def routes(context: Context, identity: Identity) -> list[BaseRoute]:
    """Everything that the console serves. What is no page of it is left to others."""
    console = Console(context, identity)
    pages = [Route(path, console.getter(function)) for path, function in _GET.items()]
    posts = [
        Route(path, console.poster(function), methods=["POST"]) for path, function in _POST.items()
    ]
    streams = [Route(path, console.streamer(one)) for path, one in live.STREAMS.items()]
    missing = Route("/{rest:path}", console.getter(_missing), methods=["GET"])
    return [*assets.routes(), *streams, *posts, *pages, _ForBrowsers(missing)]


class _ForBrowsers(BaseRoute):
    """A route for requests that want HTML; programs get the API's answer."""

    def __init__(self, route: Route) -> None:
        self._route = route

    def matches(self, scope: Any) -> Any:
        match, more = self._route.matches(scope)
        wants = scope["type"] == "http" and any(
            name == b"accept" and b"text/html" in value for name, value in scope["headers"]
        )
        path = scope.get("path", "")
        is_other = path.startswith(("/v1/", "/v2/", "/api/", "/auth/")) or path in ("/v1", "/v2")
        return (match, more) if wants and not is_other else (type(match).NONE, {})

    def url_path_for(self, name: str, /, **path_params: Any) -> Any:
        return self._route.url_path_for(name, **path_params)

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        await self._route.handle(scope, receive, send)


def _missing(page: Page) -> View:
    return View("missing.html", status=404)


class Console:
    """Answers requests of browsers."""

    def __init__(self, context: Context, identity: Identity) -> None:
        self._context = context
        self._identity = identity
        self._streams = live.Streams(context.hop, context.ending)

    def getter(self, function: PageFunction) -> Callable[[Request], Any]:
        async def get(request: Request) -> Response:
            page = await self.page_of(request)
            return await self._answer(request, page, function)

        return get

    def poster(self, function: PageFunction) -> Callable[[Request], Any]:
        async def post(request: Request) -> Response:
            seconds = self._context.config.server.idle_body_seconds
            data = await read_small(request.receive, _FORM_SIZE_MAX, seconds)
            page = await self.page_of(request)
            checked = _Checked(self, request, data, function)
            return await self._answer(request, page, checked.run)

        return post

    def streamer(self, opened: live.Stream) -> Callable[[Request], Any]:
        async def stream(request: Request) -> Response:
            page = await self.page_of(request)
            return await self._streams.respond(request, opened, page)

        return stream

    async def page_of(self, request: Request) -> Page:
        """Who asks, and what for."""
        headers = request.headers
        is_secure = browsers.is_secure(self._context, request.scope)
        session_id = browsers.cookie_of(headers, browsers.SESSION, is_secure=is_secure)
        caller, token = ANONYMOUS, ""
        if self._context.config.auth.mode == "none":
            caller = _EVERYBODY
        elif session_id:
            found = await self._context.hop.run(browsers.find_session, self._identity, session_id)
            if found is not None:
                caller, token = found[0], found[1].csrf_token
        visits.name_caller(request.scope, caller)
        lists = _query_of(request)
        external = challenge.external_url(self._context, request.scope)
        asker = Asker(
            self._identity,
            self._context.registry,
            self._context.store,
            self._context.config,
            caller,
            visits.remote_of(request.scope),
            is_secure=is_secure,
            session_id=session_id,
            proofs=browsers.known_proofs(headers, is_secure=is_secure),
        )
        return Page(
            asker=asker,
            url=_local_url(request),
            external=external,
            path=request.path_params,
            query={name: values[-1] for name, values in lists.items()},
            lists=lists,
            cookies={
                name: browsers.cookie_of(headers, name, is_secure=is_secure)
                for name in frame.COOKIES
            },
            csrf_token=token,
            is_fragment=headers.get("hx-request") == "true",
        )

    def refuse_strangers(self, request: Request, page: Page, form: dict[str, list[str]]) -> None:
        """What changes something comes from our own pages. Raises `Denied`."""
        browsers.refuse_other_sites(self._context, request.scope, request.headers)
        if self._context.config.auth.mode == "none":
            _refuse_other_names(self._context.config, request)
        # Whoever signs in may have a session already, of somebody else or of another page.
        if page.csrf_token and request.url.path != "/sign-in":
            given = form.get("csrf", [""])[-1]
            if not sessions.are_equal(page.csrf_token, given):
                raise Denied("the page is of an earlier sign-in: load it again, then repeat this")
        elif "origin" not in request.headers:
            raise Denied("the browser did not say which page this comes from")

    async def _answer(self, request: Request, page: Page, function: PageFunction) -> Response:
        response = await self._context.hop.run(_respond, page, function)
        accepted = request.headers.get("accept-encoding", "")
        if len(response.body) >= _COMPRESSED_SIZE_MIN and "gzip" in accepted:
            response.body = await self._context.hop.run(assets.compress, bytes(response.body))
            response.headers["content-encoding"] = "gzip"
            response.headers["vary"] = "accept-encoding"
            response.headers["content-length"] = str(len(response.body))
        return response


class _Checked:
    """A page function for a form, which is looked at before."""

    def __init__(
        self, console: Console, request: Request, data: bytes, function: PageFunction
    ) -> None:
        self._console = console
        self._request = request
        self._data = data
        self._function = function

    def run(self, page: Page) -> View:
        form = forms.parse(self._data)
        try:
            self._console.refuse_strangers(self._request, page, form)
        except Denied as error:
            page.asker.note_refusal("POST", self._request.url.path, error)
            raise
        return self._function(replace(page, form=form))


def _respond(page: Page, function: PageFunction) -> Response:
    """On a thread."""
    try:
        view = function(page)
    except Unidentified as error:
        view = _ask_to_sign_in(page, error)
    except DtrfastError as error:
        view = _refusal(error, page)
    values = {"page": page} if view.location else frame.values(page)
    if view.template and values.get("flash") is not None and not page.is_fragment:
        view = replace(view, cookies=(*view.cookies, flashes.cleared(page)))
    return rendering.respond(view, values)


def _refuse_other_names(config: Config, request: Request) -> None:
    """Without accounts a page of another name that leads to this machine could do everything."""
    host = request.url.hostname or ""
    is_own = is_loopback_host(host) or host == urlsplit(config.server.external_url).hostname
    if is_loopback_host(split_address(config.server.bind)[0]) and not is_own:
        raise Denied(f"open the console as {config.server.bind}, or set server.external_url")


def _ask_to_sign_in(page: Page, error: Unidentified) -> View:
    if page.is_signed_in and not page.is_fragment:
        return _refusal(error, page)
    # What a form wanted cannot be gone on with by an address.
    wanted = "/" if page.url.startswith("/do/") else page.url
    return View(location=f"/sign-in?next={quote(wanted, safe='')}")


def _refusal(error: DtrfastError, page: Page) -> View:
    status = row_of(error).status
    if status == 500:
        raise error  # logged with its trace by the boundary of the whole application
    template = "fragments/refusal.html" if page.is_fragment else "refusal.html"
    field, _, reason = error.message.partition(": ")
    is_field = _FIELD.fullmatch(field) is not None
    values = {
        "message": error.message,
        "field": field if is_field else "",
        "reason": reason if is_field else "",
        "refused": status,
    }
    return View(template, values, status)


def _query_of(request: Request) -> dict[str, list[str]]:
    try:
        return parse_qs(request.url.query, keep_blank_values=True, max_num_fields=_QUERY_FIELDS_MAX)
    except ValueError:
        return {}


def _local_url(request: Request) -> str:
    raw = request.scope.get("raw_path") or quote(request.url.path).encode()
    path = "/" + raw.decode("latin-1").lstrip("/")
    return f"{path}?{request.url.query}" if request.url.query else path

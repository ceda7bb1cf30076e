"""The console's routes: from a request to its page function and back.

Page functions are synchronous and run on a thread, as operations do. Their errors become pages. An
error that asks for a sign-in leads to the sign-in form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dtrfast.api import browsers, challenge, visits
from dtrfast.api.errors import row_of
from dtrfast.api.small_bodies import read_small
from dtrfast.api.types import ApiContext
from dtrfast.api.v0.operation import ApiClient
from dtrfast.api.v0.sessions import local_path
from dtrfast.config import Config, is_loopback_host, split_address
from dtrfast.console import (
    assets,
    flashes,
    forms,
    frame,
    live,
    refusals,
    rendering,
    returning,
    submission,
)
from dtrfast.console.page import PageFunction, PageRequest, View
from dtrfast.console.pages import (
    api,
    dashboard,
    home,
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
from dtrfast.errors import AccessRefused, CallerUnknown, DtrfastError
from dtrfast.identity import sessions
from dtrfast.identity.callers import ANONYMOUS, Caller
from dtrfast.identity.identity import Identity

_FORM_SIZE_MAX = 2 << 20
_COMPRESSED_SIZE_MIN = 1024
_STALE = AccessRefused(
    "you signed in again since this page was opened: check the form, then send it again"
)
# The caller of all requests if accounts are off.
_SYSTEM = Caller("system", "anonymous", method="local")

_GET: dict[str, PageFunction] = {
    "/": home.show,
    "/sign-in": sign_in.show,
    "/welcome": welcome.show,
    "/dashboard": dashboard.show,
    "/dashboard/history": dashboard.history,
    "/search": search.show,
    **api.PAGES,
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
    "/welcome/dismiss": welcome.dismiss,
    "/do/{operation}": submission.submit,
}


def console_routes(context: ApiContext, identity: Identity) -> list[BaseRoute]:
    """Return the routes of the console. Requests that match none of them belong to the API."""
    console = Console(context, identity)
    # Without accounts there is no management API, and its addresses answer so.
    hidden = api.PAGES if context.config.auth.mode == "none" else {}
    pages = [Route(p, console.getter(f)) for p, f in _GET.items() if p not in hidden]
    posts = [
        Route(path, console.poster(function), methods=["POST"]) for path, function in _POST.items()
    ]
    streams = [Route(path, console.streamer(one)) for path, one in live.STREAMS.items()]
    missing = Route("/{rest:path}", console.getter(lambda page: View("missing.html", status=404)))
    return [*assets.routes(), *streams, *posts, *pages, _BrowserRoute(missing)]


class _BrowserRoute(BaseRoute):
    """A route for requests that accept HTML. Other requests get the API's answer."""

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


class Console:
    """The handlers of the console's routes."""

    def __init__(self, context: ApiContext, identity: Identity) -> None:
        self._context = context
        self._identity = identity
        self._streams = live.Streams(context.hop, context.ending)
        self._pages = returning.Pages(_GET)

    def getter(self, function: PageFunction) -> Callable[[Request], Any]:
        """Return the handler of a page."""

        async def get(request: Request) -> Response:
            page = await self.page_of(request)
            return await self._answer(request, page, function)

        return get

    def poster(self, function: PageFunction) -> Callable[[Request], Any]:
        """Return the handler of a form. The page function runs only if the form is one of ours."""

        async def post(request: Request) -> Response:
            seconds = self._context.config.server.idle_body_seconds
            data = await read_small(request.receive, _FORM_SIZE_MAX, seconds)
            page = await self.page_of(request)

            def submit(page: PageRequest) -> View:
                return self._submit(request, replace(page, form=forms.parse(data)), function)

            return await self._answer(request, page, submit)

        return post

    def streamer(self, opened: live.Stream) -> Callable[[Request], Any]:
        """Return the handler of a live part."""

        async def stream(request: Request) -> Response:
            page = await self.page_of(request)
            return await self._streams.respond(request, opened, page)

        return stream

    async def page_of(self, request: Request) -> PageRequest:
        """Return the request as page functions get it, with the caller of its session."""
        headers = request.headers
        is_secure = browsers.is_secure(self._context, request.scope)
        session_id = browsers.cookie_of(headers, browsers.SESSION, is_secure=is_secure)
        caller, csrf_token = await self._caller_of(session_id)
        visits.name_caller(request.scope, caller)
        lists = forms.query_of(request.url.query)
        is_fragment = headers.get("hx-request") == "true"
        client = ApiClient(
            self._identity,
            self._identity.guard.visit(caller),
            self._context.store,
            self._context.config,
            visits.remote_of(request.scope),
            is_secure=is_secure,
            session_id=session_id,
            proofs=browsers.known_proofs(headers, is_secure=is_secure),
        )
        return PageRequest(
            client=client,
            url=_local_url(request),
            external=challenge.external_url(self._context, request.scope),
            path=request.path_params,
            query={name: values[-1] for name, values in lists.items()},
            lists=lists,
            cookies=_cookies_of(headers, is_secure=is_secure),
            csrf_token=csrf_token,
            is_form=request.method == "POST",
            is_fragment=is_fragment,
            address=_local_part(headers.get("hx-current-url", "")) if is_fragment else "",
        )

    async def _caller_of(self, session_id: str) -> tuple[Caller, str]:
        """Return the caller of a session, and its CSRF token; anonymous if there is no session."""
        if self._context.config.auth.mode == "none":
            return _SYSTEM, ""
        if session_id:
            found = await self._context.hop.run(self._identity.guard.find_session, session_id)
            if found is not None:
                return found[0], found[1].csrf_token
        return ANONYMOUS, ""

    def _submit(self, request: Request, page: PageRequest, function: PageFunction) -> View:
        """Return the answer to a form. A refused form is shown again with its text.

        Raises `AccessRefused` for a form that is from no page of ours.
        """
        if not self._is_of_this_session(request, page):
            return self._return(page, _STALE)
        try:
            view = function(page)
        except CallerUnknown as error:
            if page.is_signed_in and not page.is_fragment:
                return self._return(page, error)
            return returning.ask_to_sign_in(page)
        except DtrfastError as error:
            return self._return(page, error)
        return returning.to_form(self._pages, page, view) if "kept" in page.form else view

    def _return(self, page: PageRequest, error: DtrfastError) -> View:
        """Return the page of a refused form, with its text and the errors at the fields."""
        operation = page.path.get("operation", "")
        status = row_of(error).status
        if status == 500:
            raise error  # the application's outermost handler logs it with its traceback
        if error is _STALE and "by" in page.form and not returning.is_writer(page):
            return returning.ask_to_sign_in(page)
        if page.is_fragment:
            view = refusals.fragment(page, error, operation)
            return replace(view, headers=returning.AS_PAGE) if error is _STALE else view
        text = refusals.refill(page, error, operation)
        shown = returning.show_or_none(self._pages, page, text, status)
        return refusals.whole_page(page, error) if shown is None else shown

    def _is_of_this_session(self, request: Request, page: PageRequest) -> bool:
        """Return False for a form from an earlier sign-in of this browser.

        Raises `AccessRefused` for a form that is from no page of ours. Both leave an audit event.
        """
        try:
            browsers.refuse_other_sites(self._context, request.scope, request.headers)
            if self._context.config.auth.mode == "none":
                _refuse_other_names(self._context.config, request)
            # The sign-in form needs no token: the browser may still have a session of another
            # user, or one that began on another page.
            has_token = bool(page.csrf_token) and request.url.path != "/sign-in"
            sent = page.form.get("csrf", [""])[-1]
            if has_token and sessions.are_equal(page.csrf_token, sent):
                return True
            if "origin" not in request.headers:
                raise AccessRefused("the browser did not say which page this comes from")
            if has_token:
                page.client.note_refusal("POST", request.url.path, _STALE)
        except AccessRefused as error:
            page.client.note_refusal("POST", request.url.path, error)
            raise
        return not has_token

    async def _answer(
        self, request: Request, page: PageRequest, function: PageFunction
    ) -> Response:
        response = await self._context.hop.run(_respond, page, function)
        accepted = request.headers.get("accept-encoding", "")
        if len(response.body) >= _COMPRESSED_SIZE_MIN and "gzip" in accepted:
            response.body = await self._context.hop.run(assets.compress, bytes(response.body))
            response.headers["content-encoding"] = "gzip"
            response.headers["vary"] = "accept-encoding"
            response.headers["content-length"] = str(len(response.body))
        return response


def _respond(page: PageRequest, function: PageFunction) -> Response:
    """Return the response of a page function, or of its error. Runs on a thread."""
    try:
        view = function(page)
    except CallerUnknown as error:
        if page.is_signed_in and not page.is_fragment:
            view = _refusal(error, page)
        else:
            # A part of a page is no page to come back to.
            view = View(location=f"/sign-in?next={quote(page.address or page.url, safe='')}")
    except DtrfastError as error:
        view = _refusal(error, page)
    values = {"page": page} if view.location else frame.values(page)
    if view.template and values.get("flash") is not None and not page.is_fragment:
        view = replace(view, cookies=(*view.cookies, flashes.cleared(page)))
    return rendering.respond(view, values)


def _refusal(error: DtrfastError, page: PageRequest) -> View:
    if row_of(error).status == 500:
        raise error  # the application's outermost handler logs it with its traceback
    return (refusals.fragment if page.is_fragment else refusals.whole_page)(page, error)


def _refuse_other_names(config: Config, request: Request) -> None:
    """Raise `AccessRefused` for a name of this machine that belongs to another site.

    Without accounts, the pages of such a site could otherwise do everything here.
    """
    host = request.url.hostname or ""
    is_own = is_loopback_host(host) or host == urlsplit(config.server.external_url).hostname
    if is_loopback_host(split_address(config.server.bind)[0]) and not is_own:
        raise AccessRefused(f"open the console as {config.server.bind}, or set server.external_url")


def _cookies_of(headers: Headers, *, is_secure: bool) -> dict[str, str]:
    names = frame.COOKIES
    return {name: browsers.cookie_of(headers, name, is_secure=is_secure) for name in names}


def _local_part(url: str) -> str:
    """Return the path and the query of an address; `/` for one that is malformed."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "/"
    return local_path(f"{parts.path}?{parts.query}" if parts.query else parts.path)


def _local_url(request: Request) -> str:
    raw = request.scope.get("raw_path") or quote(request.url.path).encode()
    path = "/" + raw.decode("latin-1").lstrip("/")
    return f"{path}?{request.url.query}" if request.url.query else path

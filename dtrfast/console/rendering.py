"""Templates, and the headers of everything that the console sends."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import Response

import dtrfast
from dtrfast import markdown
from dtrfast.console import assets, events, labels, texts
from dtrfast.console.page import View
from dtrfast.oci import characters

# Nothing of another host, no inline script or style, no frame around us.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
}


@cache
def _own_markdown(text: str) -> Markup:
    """The project's own texts as HTML. READMEs are rendered when they are saved."""
    return Markup(markdown.to_html(text))


@cache
def environment() -> Environment:
    """The templates. What is undefined is a fault, not an empty text."""
    made = Environment(
        loader=PackageLoader("dtrfast.console"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        size=texts.size,
        count=texts.count,
        duration=texts.duration,
        short_digest=texts.short_digest,
        event_name=events.name_of,
        field_label=labels.of_field,
        event_details=events.details_of,
        ago=lambda text: texts.ago(text, time.time()),
        markdown=_own_markdown,
    )
    made.globals.update(
        asset=assets.url,
        repository_url=texts.repository_url,
        account_url=texts.account_url,
        event_names=list(events.NAMES.items()),
        version=dtrfast.__version__,
    )
    return made


def _shown(value: object) -> object:
    """A text that users or clients chose, with a mark for each character that misleads readers."""
    return characters.shown_lines(value) if type(value) is str else value


def render(template: str, values: Mapping[str, Any]) -> str:
    return environment().get_template(template).render(values)


def respond(view: View, values: Mapping[str, Any]) -> Response:
    """A view as a response. `values` are those of the frame; the view's own go before them."""
    if view.location and values["page"].is_fragment:
        # A script that follows a redirect would put the next page into this one.
        response = Response(headers={"hx-redirect": view.location, **HEADERS})
    elif view.location:
        response = Response(status_code=303, headers={"location": view.location, **HEADERS})
    elif view.media_type:
        response = Response(view.content, view.status, HEADERS, view.media_type)
    else:
        html = render(view.template, {**values, **view.values})
        response = Response(html, view.status, HEADERS, "text/html; charset=utf-8")
    if view.file_name:
        response.headers["content-disposition"] = f'attachment; filename="{view.file_name}"'
    response.headers["cache-control"] = "no-store"
    for cookie in view.cookies:
        response.headers.append("set-cookie", cookie)
    return response

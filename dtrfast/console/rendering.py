"""Templates, and the headers of the console's responses."""

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
from dtrfast.console import assets, caps, edits, event_names, fields, formatting, labels, quantities
from dtrfast.console.page import View
from dtrfast.oci import characters
from dtrfast.times import rfc3339

# Nothing from other hosts, no inline scripts or styles, and no frame of another page around ours.
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
    """Return a text of the project as HTML. READMEs are rendered when they are saved."""
    return Markup(markdown.to_html(text))


_GLOBALS = {
    "asset": assets.url,
    "form_fields": fields.form_fields,
    "figures": labels.FIGURES,
    "seen_fields": edits.seen_fields,
    "reserve_note": caps.of_reserve,
    "scale_of": quantities.scale_of,
    "quantity_parts": quantities.split,
    "time_element": formatting.when,
    "server_time": lambda: rfc3339(time.time()),
    "zip": zip,
    "repository_url": formatting.repository_url,
    "account_url": formatting.account_url,
    "event_names": list(event_names.NAMES.items()),
    "version": dtrfast.__version__,
}


@cache
def environment() -> Environment:
    """Return the environment of the templates. An undefined name in a template is an error."""
    made = Environment(
        loader=PackageLoader("dtrfast.console"),
        autoescape=True,
        # Texts get a mark in place of each character that could mislead readers.
        finalize=lambda value: characters.shown_lines(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        size=formatting.size,
        count=formatting.count,
        duration=formatting.duration,
        exact_or_same=formatting.exact_or_same,
        short_digest=formatting.short_digest,
        field_time=formatting.field_time,
        event_title=event_names.title_of,
        field_label=labels.of_field,
        event_details=event_names.details_of,
        markdown=_own_markdown,
    )
    made.globals |= _GLOBALS
    return made


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return the markup of a template."""
    return environment().get_template(template).render(values)


def respond(view: View, values: Mapping[str, Any]) -> Response:
    """Return the response of a view. `values` are those of the frame; the view's values override
    them.
    """
    if view.location and values["page"].is_fragment:
        # htmx would follow a redirect and put the next page into this one.
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
    response.headers.update(view.headers)
    for cookie in view.cookies:
        response.headers.append("set-cookie", cookie)
    return response

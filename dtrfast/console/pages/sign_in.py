"""Sign-in and sign-out."""

from __future__ import annotations

from dtrfast.api.errors import row_of
from dtrfast.api.v0 import objects
from dtrfast.api.v0.execution import convert_body, execute
from dtrfast.api.v0.sessions import local_path
from dtrfast.console.page import BY_ID, PageRequest, View
from dtrfast.errors import DtrfastError


def show(page: PageRequest) -> View:
    """Show the form. Without accounts there is nothing to sign in to."""
    if page.caller.kind == "system":
        return View(location="/")
    return View("sign_in.html", {"next": local_path(page.query.get("next", "/")), "refusal": ""})


def enter(page: PageRequest) -> View:
    """Sign in with the name and password of the form."""
    operation = BY_ID["sign_in"]
    given = {name: page.form.get(name, [""])[-1] for name in ("username", "password", "next")}
    try:
        call = page.client.call({}, None, convert_body(operation, given))
        session = execute(operation, call)
    except DtrfastError as error:
        values = {"next": local_path(given["next"]), "refusal": error.message}
        return View("sign_in.html", values, row_of(error).status)
    assert isinstance(session, objects.Session)
    return View(location=session.next, cookies=tuple(call.cookies))


def leave(page: PageRequest) -> View:
    """Sign out."""
    operation = BY_ID["sign_out"]
    call = page.client.call({}, None, None)
    execute(operation, call)
    return View(location="/sign-in", cookies=tuple(call.cookies))

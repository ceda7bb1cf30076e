"""Sign-in and sign-out."""

from __future__ import annotations

from dtrfast.api.errors import row_of
from dtrfast.api.v0 import objects
from dtrfast.api.v0.execution import convert_body, execute
from dtrfast.api.v0.sessions import local_path
from dtrfast.console.page import BY_ID, PageRequest, View
from dtrfast.console.refusals import sentence
from dtrfast.errors import DtrfastError


def show(page: PageRequest) -> View:
    """Show the form. Without accounts there is nothing to sign in to."""
    if page.caller.kind == "system":
        return View(location="/")
    wanted = local_path(page.query.get("next", "/"))
    return form(wanted, reason=_reason(page))


def form(
    wanted: str,
    *,
    reason: str = "",
    refusal: str = "",
    kept: str = "",
    username: str = "",
    status: int = 200,
) -> View:
    """Return the form, which leads to the page `wanted`. `kept` is another form's sealed text."""
    values = {"next": wanted, "reason": reason, "refusal": refusal, "kept": kept}
    return View("sign_in.html", {**values, "username": username}, status)


def _reason(page: PageRequest) -> str:
    """Return the reason why a page led here; empty if no page required the sign-in."""
    if page.is_signed_in or "next" not in page.query:
        return ""
    if page.client.session_id:
        return "Your session has ended. Sign in again to continue where you were."
    return "Sign in to open this page."


def enter(page: PageRequest) -> View:
    """Sign in with the name and password of the form."""
    operation = BY_ID["sign_in"]
    given = {name: page.form.get(name, [""])[-1] for name in ("username", "password", "next")}
    try:
        call = page.client.call({}, None, convert_body(operation, given))
        session = execute(operation, call)
    except DtrfastError as error:
        return form(
            local_path(given["next"]),
            refusal=sentence(error.message),
            kept=page.form.get("kept", [""])[-1],
            username=given["username"],
            status=row_of(error).status,
        )
    assert isinstance(session, objects.Session)
    return View(location=session.next, cookies=tuple(call.cookies))


def leave(page: PageRequest) -> View:
    """Sign out."""
    operation = BY_ID["sign_out"]
    call = page.client.call({}, None, None)
    execute(operation, call)
    return View(location="/sign-in", cookies=tuple(call.cookies))

"""The way back to a form: after a refusal, and after a sign-in that was needed in between.

A form says on which page it stands (`at`) and which account filled it (`by`). When the session has
ended, the sign-in page carries the form's text, sealed for that account. After the sign-in the page
of the form is shown with the text. The user sends it again: nothing is submitted by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.routing import Match, Route

from dtrfast.api import browsers
from dtrfast.api.v0.sessions import local_path
from dtrfast.console import forms, frame, refilling, refusals, rendering
from dtrfast.console.page import PageFunction, PageRequest, View
from dtrfast.console.pages import sign_in
from dtrfast.console.refilling import Refill
from dtrfast.errors import DtrfastError, NotFound
from dtrfast.identity.kept_texts import KeptTexts

# A script sends the form again as browsers do without scripts, and so gets a whole page.
AS_PAGE: Mapping[str, str] = {"form-as-page": "1"}
_WELCOME_BACK = "You are signed in again. Check the form, then send it."
_EXPIRED = "Your session has ended. Sign in again to return to your form: nothing was sent yet."
_OTHER_USER = (
    "Another user opened this form. Sign in as that user to return to it: nothing was sent yet."
)
_TOO_LONG = " Its text is too long to keep here. Go back in your browser to copy it first."


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of the console, by their paths."""

    functions: Mapping[str, PageFunction]

    def show(self, page: PageRequest, refill: Refill, status: int) -> View | None:
        """Return the page of a form, filled; None if the form is not there.

        Raises the errors of the page.
        """
        url = local_path(refill.address)
        found = self._find(urlsplit(url).path)
        if found is None:
            return None
        function, path = found
        lists = forms.query_of(urlsplit(url).query)
        asked = replace(
            page,
            url=url,
            path=path,
            query={name: values[-1] for name, values in lists.items()},
            lists=lists,
            form={},
            is_fragment=False,
            is_form=False,
        )
        view = function(asked)
        if not view.template:
            return None
        filled = refilling.fill(_text_of(asked, view), refill)
        return None if filled is None else _whole(filled, status)

    def _find(self, path: str) -> tuple[PageFunction, dict[str, Any]] | None:
        scope = {"type": "http", "method": "GET", "path": unquote(path), "root_path": ""}
        for pattern, function in self.functions.items():
            match, inner = Route(pattern, lambda: None).matches(scope)
            if match is Match.FULL:
                return function, inner["path_params"]
        return None


def _text_of(page: PageRequest, view: View) -> str:
    """Return the markup of a view, with the frame of `page` in place of that of the request. The
    sentence about the last form stays for the next page.
    """
    return rendering.render(view.template, {**frame.values(page), "flash": None, **view.values})


def _whole(text: str, status: int) -> View:
    return View(content=text.encode(), media_type="text/html; charset=utf-8", status=status)


def ask_to_sign_in(page: PageRequest) -> View:
    """Return the sign-in page with the sealed text of a form whose session has ended."""
    if page.is_fragment:
        return View(content=b"", media_type="text/html", status=401, headers=AS_PAGE)
    text = urlencode(refilling.without_secrets(page.form) | _notes(page), doseq=True).encode()
    sealed = KeptTexts(page.client.identity.keys).seal(text, _writer(page))
    reason = _OTHER_USER if page.is_signed_in else _EXPIRED
    at = refusals.page_of(page.form)
    return sign_in.form(
        at if not at.startswith("/do/") else "/",
        reason=reason + ("" if sealed else _TOO_LONG),
        kept=sealed,
        status=401,
    )


def is_writer(page: PageRequest) -> bool:
    """Return True if the user of this request filled the form."""
    return _writer(page) == page.caller.account_id


def to_form(pages: Pages, page: PageRequest, view: View) -> View:
    """Return the page of the form that the user left to sign in. `view` is the answer to the
    sign-in, which leads another user to the front page.
    """
    if not view.location:
        return view  # the sign-in failed, and its page still has the text
    found = _after_sign_in(page, view)
    if found is None:
        return replace(view, location="/")
    back, refill = found
    shown = show_or_none(pages, back, refill)
    if shown is None:
        gone = NotFound("the page of your form is not there any more")
        refusal = refusals.whole_page(replace(back, form=refill.form), gone)
        shown = _whole(_text_of(back, refusal), refusal.status)
    return replace(shown, cookies=view.cookies)


def _after_sign_in(page: PageRequest, view: View) -> tuple[PageRequest, Refill] | None:
    """Return the request of the new session, and the text of the form that the user left.

    None if there is no text, or if another user signed in.
    """
    session_id = browsers.cookie_of(
        Headers(raw=[(b"cookie", one.partition(";")[0].encode()) for one in view.cookies]),
        browsers.SESSION,
        is_secure=page.client.is_secure,
    )
    found = page.client.identity.guard.find_session(session_id) if session_id else None
    if found is None:
        return None
    caller, record = found
    kept = page.form.get("kept", [""])[-1]
    text = KeptTexts(page.client.identity.keys).open(kept, caller.account_id)
    if text is None:
        return None
    form = forms.parse(text)
    visit = page.client.identity.guard.visit(caller)
    client = replace(page.client, visit=visit, session_id=session_id)
    back = replace(page, client=client, csrf_token=record.csrf_token)
    action, again = (form.pop(name, [""])[-1] for name in ("action", "again"))
    message = f"{_WELCOME_BACK} {again}".strip()
    return back, Refill(action, refusals.page_of(form), form, message=message, level="info")


def _notes(page: PageRequest) -> dict[str, list[str]]:
    """Return the fields of a kept text that are none of the form."""
    again = refilling.secrets_again(page.form)
    return {"action": [page.url.partition("?")[0]], "again": [again]}


def _writer(page: PageRequest) -> int:
    """Return the id of the account that filled the form."""
    text = page.form.get("by", [""])[-1]
    return int(text) if text.isdecimal() and len(text) < 18 else 0


def show_or_none(pages: Pages, page: PageRequest, refill: Refill, status: int = 200) -> View | None:
    """Return the page of a form, filled; None if the page or the form is not there any more."""
    try:
        return pages.show(page, refill, status)
    except DtrfastError:
        return None

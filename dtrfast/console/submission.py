"""Submissions of forms: each calls operations of the management API as the user of the session.

The console has no other way to change data. Its users can do what the API lets them do, and nothing
more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from dtrfast.api.v0 import objects
from dtrfast.api.v0.execution import convert_body, execute
from dtrfast.api.v0.operation import Operation
from dtrfast.api.v0.sessions import local_path
from dtrfast.console import caps, edits, flashes, formatting, forms, refusals, reviews, sentences
from dtrfast.console.edits import Edit
from dtrfast.console.flashes import Flash
from dtrfast.console.operations import CONSOLE_OPERATIONS, ConsoleOperation
from dtrfast.console.page import PageRequest, View
from dtrfast.console.repository_names import full_name, name_in
from dtrfast.errors import AccessRefused, DtrfastError, NotFound, SettingsInvalid, SignInRequired

# Calls of one form: more than a page has rows, and within the time of one request.
_CALLS_MAX = 200
_PIECE_LENGTH_MAX = 255
_FAILURE_LENGTH_MAX = 300


@dataclass(frozen=True, slots=True)
class _CallResults:
    """The results of one form's calls: the paths and answers of those that succeeded, and the
    errors of the others.
    """

    paths: list[dict[str, str]]
    answers: list[msgspec.Struct | None]
    errors: list[DtrfastError]


def submit(page: PageRequest) -> View:
    """Carry out a form: one call for each path that it names.

    A form that asks for a review, or whose operation needs a confirmation, is answered with that
    first. Raises `NotFound`, `AccessRefused`, `SignInRequired`, `SettingsInvalid` and the errors of
    the operation.
    """
    operation = _operation(page)
    if not operation.api.admits(page.caller):
        raise SignInRequired("sign in to do this")
    body = convert_body(operation.api, forms.body_in(page.form, operation.id))
    paths = forms.paths_in(page.form)
    if len(paths) > _CALLS_MAX:
        raise SettingsInvalid(f"choose {_CALLS_MAX} at most")
    wanted = {piece[1:-1] for piece in operation.api.path.split("/") if piece.startswith("{")}
    for path in paths:
        if wanted != set(path) or not all(one and one.isprintable() for one in path.values()):
            raise SettingsInvalid("choose at least one, then repeat this")
    edit = edits.merge(page, operation.api, paths[0], body)
    question = _question(page, operation, paths[0], edit)
    if question is not None:
        return question
    results = _run(page, operation.api, paths, edit.body)
    if results.errors and not results.answers:
        raise results.errors[0]
    target = _target(page, results.answers)
    if operation.answer_template:
        values: dict[str, Any] = {"answer": results.answers[0], "path": results.paths[0]}
        values |= {"next": target, "form": page.form}
        if page.is_fragment:
            return View(operation.answer_template, values)
        values |= {"shown": operation.answer_template, "title": operation.api.summary}
        return View("shown.html", values)
    return View(location=target, cookies=(_notice(page, operation, results, edit),))


def _operation(page: PageRequest) -> ConsoleOperation:
    """Return the operation that the address names. Raises `NotFound`, `AccessRefused`."""
    operation = CONSOLE_OPERATIONS.get(page.path["operation"])
    if operation is None:
        raise NotFound("there is no such action")
    if page.client.config.auth.mode == "none" and operation.is_for_accounts:
        raise AccessRefused("accounts are off: start the server without --auth none")
    return operation


def _question(
    page: PageRequest, operation: ConsoleOperation, path: dict[str, str], edit: Edit
) -> View | None:
    """Return the review or the confirmation that the form needs first; None if it needs none."""
    is_reviewed = bool(page.form.get("reviewed", [""])[-1])
    if page.form.get("review", [""])[-1] or (edit.conflicts and not is_reviewed):
        return reviews.review(page, operation.api, path, edit)
    if reviews.is_stale(page, operation.api, path, edit.body):
        return reviews.review(page, operation.api, path, edit, is_again=True)
    if page.form.get("confirmed", [""])[-1]:
        return None
    confirmation = operation.confirm(page, path, edit.body)
    if confirmation is None:
        return None
    values = {
        "confirmation": confirmation,
        "operation": operation,
        "fields": forms.fields_again(page.form),
        "at": refusals.page_of(page.form),
    }
    return View("fragments/confirm.html" if page.is_fragment else "confirm.html", values)


def _run(
    page: PageRequest, operation: Operation, paths: list[dict[str, str]], body: object
) -> _CallResults:
    """Call the operation for each path. An error of a single call is raised."""
    results = _CallResults([], [], [])
    for path in paths:
        call = page.client.call(path, None, body)
        try:
            answer = execute(operation, call)
        except DtrfastError as error:
            if len(paths) == 1:
                raise
            results.errors.append(error)
        else:
            results.paths.append(path)
            results.answers.append(answer)
    return results


def _target(page: PageRequest, answers: list[msgspec.Struct | None]) -> str:
    """Return the address that the form leads to. `{name}` in it is the name in the last answer.

    The address has no fragment: a browser that is sent to another place of the page that it shows
    does not load the page again.
    """
    wanted = page.form.get("next", ["/"])[-1].partition("#")[0]
    answer = answers[-1] if answers else None
    name = quote(str(getattr(answer, "name", "")), safe="")
    if isinstance(answer, objects.Repository):
        name = quote(full_name(answer))
    return local_path(wanted.replace("{name}", name))


def _notice(
    page: PageRequest, operation: ConsoleOperation, results: _CallResults, edit: Edit
) -> str:
    """Return the cookie with the sentence for the next page, and with the undo if there is one."""
    path, answer = results.paths[-1], results.answers[-1]
    repository = name_in(path) if "repository" in path else ""
    made = getattr(answer, "name", "")
    if isinstance(answer, objects.Repository):
        made = full_name(answer)
    pieces = {name: formatting.short_digest(value) for name, value in path.items()} | {
        "repository": repository,
        "made": made,
        "level": getattr(edit.body, "access_level", ""),
    }
    # Names of any length may come from the form, but the cookie has little room.
    pieces = {name: str(value)[:_PIECE_LENGTH_MAX] for name, value in pieces.items()}
    short = operation.sentence(pieces, edit.body, len(results.answers))
    if edit.is_empty:
        short = "Nothing was changed."
    short = " ".join([short, *caps.notes(page, edit.body)])
    text = sentences.describe(repository, answer) or short
    if results.errors:
        counts = f" {len(results.answers)} done, {len(results.errors)} refused"
        text += f"{counts}: {str(results.errors[0].message)[:_FAILURE_LENGTH_MAX]}"
        short += f"{counts}."
    undo = None if operation.undo is None else operation.undo(page, results.paths, answer)
    return flashes.cookie(Flash(text, undo), page, short)

"""Refusals of forms: the errors at the fields, in the words of the page.

A script puts the errors of a fragment at the fields. Without scripts the page of the form is shown
again, refilled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from dtrfast import errors
from dtrfast.api.errors import row_of
from dtrfast.api.v0.sessions import local_path
from dtrfast.api.v0.validation import PROBLEMS_MAX
from dtrfast.console import forms, labels, quantities, refilling
from dtrfast.console.page import PageRequest, View
from dtrfast.console.refilling import FieldNote, Refill
from dtrfast.errors import DtrfastError, FieldProblem, RepositoryUnknown

# Controls that an error without a field may be about: the first that the user sees.
_CONTROLS: tuple[tuple[type[DtrfastError], tuple[str, ...]], ...] = (
    (errors.PasswordInvalid, ("body.newPassword", "body.password")),
    (errors.AccountInvalid, ("body.name",)),
    (errors.NameInvalid, ("body.name", "path.repository")),
    (errors.AccountUnknown, ("path.grantee", "path.member", "path.namespace")),
    (errors.TeamUnknown, ("path.team", "path.member")),
    (errors.RepositoryUnknown, ("path.repository",)),
)
_BOUND = re.compile(r"(give at (?:least|most) )(\d+)$")
_NAME_TAKEN = re.compile(r"\b(?:taken|already)\b")
_ENDS = (".", "!", "?", ":")


def notes_of(page: PageRequest, error: DtrfastError, operation: str) -> list[FieldNote]:
    """Return the errors at fields; empty for an error that is about none."""
    if error.problems:
        return [_note(page, one, operation) for one in error.problems[:PROBLEMS_MAX]]
    controls = next((names for kind, names in _CONTROLS if isinstance(error, kind)), ())
    if isinstance(error, errors.Conflict) and _NAME_TAKEN.search(error.message):
        controls = ("body.name",)
    if not controls or not any(name in page.form for name in controls):
        return []
    return [FieldNote(controls, "", sentence(error.message))]


def _note(page: PageRequest, problem: FieldProblem, operation: str) -> FieldNote:
    control = forms.control_of(page.form, operation, problem.field)
    name = re.sub(r"\[(\d+)\]", lambda found: f".{int(found[1]) + 1}", problem.field)
    label = labels.of_field(name)
    label = labels.text_of(name).label if label == name else label
    # An error about a list of rows is shown at the first one. One about boxes to choose from
    # belongs to none of them.
    rows = [one for one in page.form if one.startswith(f"{control}.")]
    controls = () if control.endswith("[]") else (control, *rows)
    return FieldNote(controls, label, sentence(_in_words(problem.field, problem.reason)))


def _in_words(field: str, reason: str) -> str:
    """Return a reason in the words of a form: sizes and times have units, boxes are selected."""
    if reason == "give at least 1 of them":
        return "select at least one"
    if quantities.scale_of(field) is None:
        return reason
    if reason == "give a whole number":
        return "give a number, such as 10 or 1.5"
    return _BOUND.sub(lambda found: found[1] + quantities.shown(field, found[2]), reason)


def sentence(text: str) -> str:
    """Return a message of the API as a sentence."""
    is_word = re.match(r"[a-z]+\b(?![./:=_@-])", text) is not None
    text = text[:1].upper() + text[1:] if is_word else text
    return text if text.endswith(_ENDS) else f"{text}."


def fragment(page: PageRequest, error: DtrfastError, operation: str = "") -> View:
    """Return the refusal for a script."""
    notes = notes_of(page, error, operation)
    values = {"notes": notes, "message": "" if notes else sentence(error.message)}
    return View("fragments/refusal.html", values, row_of(error).status)


def refill(page: PageRequest, error: DtrfastError, operation: str) -> Refill:
    """Return the text of the refused form, for its page."""
    notes = tuple(notes_of(page, error, operation))
    message = "" if notes else sentence(error.message)
    return Refill(
        f"/do/{operation}",
        page_of(page.form),
        refilling.without_secrets(page.form),
        notes,
        f"{message} {refilling.secrets_again(page.form)}".strip(),
    )


def page_of(form: Mapping[str, list[str]]) -> str:
    """Return the address of the page on which a form stands. A live part is on its next page."""
    at = form.get("at", ["/"])[-1]
    return local_path(form.get("next", ["/"])[-1] if at.startswith("/live/") else at)


def whole_page(page: PageRequest, error: DtrfastError) -> View:
    """Return the page of a refusal, with what the user entered."""
    status = row_of(error).status
    notes = [f"{one.label}: {one.reason}" for one in notes_of(page, error, "") if one.label]
    message = sentence(error.message)
    if status == 403 and not page.is_form:
        message = message.replace("may do this.", "may see this page.")
    values = {
        "message": " ".join(notes) or message,
        "refused": status,
        "entered": list(_entered(page)),
        "is_form": page.is_form,
        "may_be_hidden": isinstance(error, RepositoryUnknown),
    }
    return View("refusal.html", values, status)


def _entered(page: PageRequest) -> Iterator[tuple[str, str]]:
    """Yield the labels and values of a form's texts, for the user to copy.

    Secrets are left out, and so are the lines of an import, which have passwords.
    """
    for name, values in page.form.items():
        start, _, field = name.partition(".")
        value = values[-1]
        is_text = start == "body" and value.strip() and value not in ("true", "false")
        if is_text and name != "body.csv" and not refilling.is_secret(name):
            # Numbers count from 1, as in the form.
            pieces = (str(int(p) + 1) if p.isdecimal() else p for p in field.split("."))
            yield labels.of_field(".".join(pieces).removesuffix("[]")), value

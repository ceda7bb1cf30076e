"""Every change that a page makes: a form names an operation of the management API, and what goes
into it. There is no other way from the console to a change, so the console can do what its user may
do with the API, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from dtrfast.api.v0 import image_objects, objects, trash
from dtrfast.api.v0.asking import convert_body, execute
from dtrfast.api.v0.operation import Operation
from dtrfast.api.v0.sessions import local_path
from dtrfast.console import confirming, differences, flashes, forms, texts, words
from dtrfast.console.confirming import Question
from dtrfast.console.flashes import Flash, Undo
from dtrfast.console.page import BY_ID, Page, View
from dtrfast.errors import Denied, DtrfastError, NotFound, SettingsInvalid, SignInRequired

# Operations whose answer is the point of them: secrets that are shown once, and what a try found.
SHOWN: Mapping[str, str] = {
    "create_token": "shown/secret.html",
    "create_robot": "shown/secret.html",
    "import_accounts": "shown/imported.html",
    "reset_password": "shown/password.html",
    "sync_ldap": "shown/synchronised.html",
    "try_ldap_settings": "shown/tested.html",
    "try_ldap_login": "shown/tried.html",
}
_TRASHED_SEEN_MAX = 1000
# Where there are no accounts nobody may make some that count later.
_OF_ACCOUNTS = frozenset({"accounts", "teams", "access", "credentials", "sessions", "ldap"})
_OF_SIGN_INS = frozenset({"put_oidc_settings", "put_access_settings"})
# Calls of one form: more than a page has rows, and what a request should take.
_CALLS_MAX = 200
_ABOUT_LENGTH_MAX = 255


@dataclass(frozen=True, slots=True)
class _Done:
    """What became of the calls of one form."""

    answers: list[tuple[dict[str, str], msgspec.Struct | None]]
    failures: list[tuple[dict[str, str], DtrfastError]]


def do(page: Page) -> View:
    """Carry out what a form asks for, once for each path that it names; after a look where one was
    asked for, and a question where there is one.
    """
    operation = _operation(page)
    if not operation.admits(page.caller):
        raise SignInRequired("sign in to do this")
    body = convert_body(operation, forms.body_in(page.form, operation.id))
    paths = forms.paths_in(page.form)
    if len(paths) > _CALLS_MAX:
        raise SettingsInvalid(f"choose {_CALLS_MAX} at most")
    for path in paths:
        _check_pieces(operation, path)
    answer = _before(page, operation, paths[0], body)
    if answer is not None:
        return answer
    done = _run(page, operation, paths, body)
    if done.failures and not done.answers:
        raise done.failures[0][1]
    if operation.id in SHOWN:
        return _show(page, operation, done)
    flash = _flash(page, operation, done, body)
    return View(location=_next(page, done), cookies=(flashes.cookie(flash, page),))


def _operation(page: Page) -> Operation:
    """Raises `NotFound`, `Denied`."""
    operation = BY_ID.get(page.path["operation"])
    if operation is None or operation.method == "GET":
        raise NotFound("there is no such action")
    is_of_accounts = operation.tag in _OF_ACCOUNTS or operation.id in _OF_SIGN_INS
    if page.asker.config.auth.mode == "none" and is_of_accounts:
        raise Denied("accounts are off: start the server without --auth none")
    return operation


def _before(page: Page, operation: Operation, path: dict[str, str], body: object) -> View | None:
    """What is shown in place of doing it."""
    if page.form.get("review", [""])[-1]:
        return differences.review(page, operation, path, body)
    if differences.is_stale(page, operation, path, body):
        return differences.review(page, operation, path, body, is_again=True)
    if page.form.get("confirmed", [""])[-1]:
        return None
    asked = confirming.question(page, operation.id, path, body)
    return None if asked is None else _confirm(page, operation, asked)


def _confirm(page: Page, operation: Operation, asked: Question) -> View:
    values = {
        "question": asked,
        "operation": operation,
        "fields": forms.fields_again(page.form),
        "next": local_path(page.form.get("next", ["/"])[-1].replace("{name}", "")),
    }
    return View("fragments/confirm.html" if page.is_fragment else "confirm.html", values)


def _run(page: Page, operation: Operation, paths: list[dict[str, str]], body: object) -> _Done:
    done = _Done([], [])
    for path in paths:
        call = page.asker.call(path, None, body)
        try:
            answer = execute(operation, call)
        except DtrfastError as error:
            if len(paths) == 1:
                raise
            done.failures.append((path, error))
        else:
            done.answers.append((path, answer))
    return done


def _check_pieces(operation: Operation, path: Mapping[str, str]) -> None:
    wanted = {piece[1:-1] for piece in operation.path.split("/") if piece.startswith("{")}
    if wanted != set(path) or not all(value and value.isprintable() for value in path.values()):
        raise SettingsInvalid("choose at least one, then repeat this")


def _show(page: Page, operation: Operation, done: _Done) -> View:
    path, answer = done.answers[0]
    values = {"answer": answer, "path": path, "next": _next(page, done)}
    template = SHOWN[operation.id]
    if not page.is_fragment:
        return View("shown.html", {**values, "shown": template, "title": operation.summary})
    return View(template, values)


def _next(page: Page, done: _Done) -> str:
    """Where the form wants to go, or to what was made. A browser that is sent to another place of
    the page it shows loads nothing, so there is none in the address.
    """
    wanted = page.form.get("next", ["/"])[-1].partition("#")[0]
    answer = done.answers[-1][1] if done.answers else None
    name = quote(str(getattr(answer, "name", "")), safe="")
    if isinstance(answer, objects.Repository):
        name = quote(f"{answer.namespace}/{answer.name}".lstrip("/"))
    return local_path(wanted.replace("{name}", name))


def _flash(page: Page, operation: Operation, done: _Done, body: object) -> Flash:
    path, answer = done.answers[-1]
    failure = str(done.failures[0][1].message) if done.failures else ""
    return Flash(
        operation.id,
        _about(operation, path, answer, body),
        len(done.answers),
        len(done.failures),
        failure[:300],
        _undo(page, operation, done),
        words.told(words.full_name(path) if "repository" in path else "", answer),
    )


def _about(operation: Operation, path: Mapping[str, str], answer: Any, body: Any) -> dict[str, str]:
    """What the sentence of an operation may name. It travels in a cookie: nothing long."""
    about = {name: texts.short_digest(value) for name, value in path.items()}
    if "repository" in path:
        about["repository"] = words.full_name(path)
    made = getattr(answer, "name", "")
    if isinstance(answer, objects.Repository):
        made = f"{answer.namespace}/{answer.name}".lstrip("/")
    given = {"made": made, "level": getattr(body, "access_level", "")}
    if operation.id == "update_account" and body.is_admin is not msgspec.UNSET:
        given["role"] = "admin" if body.is_admin else "user"
    about |= {name: str(value) for name, value in given.items() if value}
    return {name: value[:_ABOUT_LENGTH_MAX] for name, value in about.items()}


def _undo(page: Page, operation: Operation, done: _Done) -> Undo | None:
    """The operation that takes it back, where there is one."""
    path, answer = done.answers[-1]
    if isinstance(answer, image_objects.Deletion):
        return Undo("restore_deletion", {**path, "run": answer.run})
    if operation.id == "delete_manifest":
        return _undo_manifests([path for path, _ in done.answers])
    if operation.id == "delete_repository":
        return _undo_repository(page, path)
    return None


def _undo_manifests(paths: list[dict[str, str]]) -> Undo:
    references = [path["reference"] for path in paths]
    place = {name: paths[0][name] for name in ("namespace", "repository")}
    if all(":" in reference for reference in references):
        return Undo("restore_manifest", {**place, "reference": references})
    return Undo("restore_tag", {**place, "tag": references})


def _undo_repository(page: Page, path: dict[str, str]) -> Undo | None:
    found: Any = page.glance(trash.list_trashed_repositories, query={"limit": _TRASHED_SEEN_MAX})
    wanted = (path["namespace"] if path["namespace"] != "_" else "", path["repository"])
    ids = [r.id for r in (found.repositories if found else ()) if (r.namespace, r.name) == wanted]
    return Undo("restore_repository", {"id": ids[-1]}) if ids else None

"""Reviews: a change of settings, shown as a difference before it is applied."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from dtrfast.api.v0.execution import convert_query
from dtrfast.api.v0.operation import Operation
from dtrfast.api.v0.router import OPERATIONS
from dtrfast.console import forms
from dtrfast.console.page import PageRequest, View
from dtrfast.errors import NotFound
from dtrfast.identity.differences import compare

_READERS = {o.path: o for o in OPERATIONS if o.method == "GET"}


def review(
    page: PageRequest,
    operation: Operation,
    path: Mapping[str, str],
    body: object,
    *,
    is_again: bool = False,
) -> View:
    """Return the difference, with the form to apply it.

    `is_again` tells the user that the difference is not the one that was shown before. Raises the
    errors that the operation would raise for the body.
    """
    before, after = _documents(page, operation, path, body)
    if operation.check is not None:
        operation.check(page.client.call(path, None, body))
    values = {
        "differences": compare(before, after),
        "operation": operation,
        "fields": forms.fields_again(page.form),
        "reviewed": _fingerprint(before, after),
        "is_again": is_again,
    }
    template = "fragments/difference.html" if page.is_fragment else "difference.html"
    return View(template, values)


def is_stale(
    page: PageRequest, operation: Operation, path: Mapping[str, str], body: object
) -> bool:
    """Return True if applying a reviewed form would change something else than the review showed:
    the form was edited since, or the settings were changed by another session.
    """
    reviewed = page.form.get("reviewed", [""])[-1]
    # Another button of the same form may only test its settings.
    if not reviewed or operation.method not in ("PUT", "PATCH"):
        return False
    return reviewed != _fingerprint(*_documents(page, operation, path, body))


def _documents(
    page: PageRequest, operation: Operation, path: Mapping[str, str], body: object
) -> tuple[Any, Any]:
    """Return the settings before and after the operation. A PATCH leaves out unchanged fields, so
    the settings before it are reduced to the fields in the body.
    """
    reader = _READERS.get(operation.path)
    before: Any = {}
    if reader is not None:
        try:
            call = page.client.call(path, convert_query(reader, {}), None)
            before = msgspec.to_builtins(reader.run(call))
        except NotFound:
            before = {}
    after = msgspec.to_builtins(body)
    if operation.method == "PATCH":
        before = {name: value for name, value in before.items() if name in after}
    return before, after


def _fingerprint(before: Any, after: Any) -> str:
    return hashlib.sha256(msgspec.json.encode([before, after], order="sorted")).hexdigest()[:32]

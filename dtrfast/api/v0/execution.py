"""Execution of an operation, for a request to the API and for a page of the console alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from dtrfast.api.errors import row_of
from dtrfast.api.v0.operation import REPOSITORY, ApiCall, Operation, full_name
from dtrfast.api.v0.validation import check_texts, explain, problems_of
from dtrfast.errors import DtrfastError, RepositoryHidden, SettingsInvalid, TokenInvalid


def execute(
    operation: Operation, call: ApiCall, refusal: DtrfastError | None = None
) -> msgspec.Struct | None:
    """Run an operation on this thread; with a `refusal`, raise that instead. Refusals are audit
    events.
    """
    try:
        if refusal is not None:
            raise refusal
        return operation.run(call)
    except DtrfastError as error:
        if is_refusal(error):
            path = operation.path.format_map(call.path)
            of_repository = operation.path.startswith(REPOSITORY)
            subject = full_name(call.path) if of_repository else ""
            call.note_refusal(operation.method, path, error, subject)
        raise


def is_refusal(error: DtrfastError) -> bool:
    """Return True if an error becomes an audit event. A request to sign in does not. Neither does a
    missing thing, unless the caller may not know of it.
    """
    return isinstance(error, RepositoryHidden | TokenInvalid) or row_of(error).status == 403


def convert_query(operation: Operation, query: Mapping[str, str]) -> Any:
    """Return the query as the operation's type. Raises `SettingsInvalid`."""
    return _converted(operation.query, dict(query), strict=False)


def decode_body(operation: Operation, data: bytes) -> Any:
    """Return JSON as the operation's type. Raises `SettingsInvalid`."""
    if operation.body is None:
        return None
    try:
        return check_texts(msgspec.json.decode(data, type=operation.body))
    except msgspec.ValidationError as error:
        raise _invalid(error, _plain(data), operation.body, strict=True) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"body: {error}") from error


def convert_body(operation: Operation, document: Any) -> Any:
    """Return the texts of a form as the operation's type. Raises `SettingsInvalid`."""
    return check_texts(_converted(operation.body, document, strict=False))


def _converted(kind: type | None, document: object, *, strict: bool) -> object:
    """Return a document as a kind; None if the operation has none."""
    if kind is None:
        return None
    try:
        return msgspec.convert(document, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise _invalid(error, document, kind, strict=strict) from error


def _plain(data: bytes) -> object:
    """Return JSON as plain values; None if it is malformed behind the fault that was found."""
    try:
        return msgspec.json.decode(data)
    except (ValueError, RecursionError):
        return None


def _invalid(
    error: msgspec.ValidationError, document: object, kind: type, *, strict: bool
) -> SettingsInvalid:
    """Return the refusal of a document: all its wrong fields, or the fault that msgspec found."""
    problems = problems_of(document, kind, strict=strict)
    return SettingsInvalid.of(problems) if problems else SettingsInvalid(explain(error))

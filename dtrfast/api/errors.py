"""Errors of the API: the table from exceptions to codes and statuses, and the error bodies
(distribution specification, "Error Codes"). No other module builds an error body.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from starlette.responses import Response

from dtrfast import errors
from dtrfast.api.answers import Answer
from dtrfast.errors import DtrfastError, ManifestBlobUnknown, RangeInvalid, Unavailable
from dtrfast.oci.ranges import unsatisfied_range


class ClientGone(Exception):
    """The client closed its connection, so no answer is sent."""


class ClientIdle(Exception):
    """The client stopped sending in the middle of a body."""


class ErrorRow(NamedTuple):
    """The code and the status with which a client learns of an exception."""

    code: str
    status: int


# Docker decides by the code if it retries: DENIED, UNAUTHORIZED, UNSUPPORTED and NAME_UNKNOWN end
# its retries, UNAVAILABLE does not. It retries after any code if the message is distribution's own
# for the code ("authentication required"): its client parses such an error to another type, which
# docker does not check. Every exception class has a row; a test enumerates them.
TABLE: Mapping[type[DtrfastError], ErrorRow] = {
    DtrfastError: ErrorRow("UNKNOWN", 500),
    errors.NotFound: ErrorRow("NAME_UNKNOWN", 404),
    errors.BlobUnknown: ErrorRow("BLOB_UNKNOWN", 404),
    errors.ManifestUnknown: ErrorRow("MANIFEST_UNKNOWN", 404),
    errors.RepositoryUnknown: ErrorRow("NAME_UNKNOWN", 404),
    errors.RepositoryHidden: ErrorRow("NAME_UNKNOWN", 404),
    errors.UploadUnknown: ErrorRow("BLOB_UPLOAD_UNKNOWN", 404),
    errors.AccountUnknown: ErrorRow("NAME_UNKNOWN", 404),
    errors.TeamUnknown: ErrorRow("NAME_UNKNOWN", 404),
    errors.GrantUnknown: ErrorRow("NAME_UNKNOWN", 404),
    errors.CredentialUnknown: ErrorRow("NAME_UNKNOWN", 404),
    errors.CallerUnknown: ErrorRow("UNAUTHORIZED", 401),
    errors.SignInRequired: ErrorRow("UNAUTHORIZED", 401),
    errors.SignInFailed: ErrorRow("UNAUTHORIZED", 401),
    errors.TokenInvalid: ErrorRow("UNAUTHORIZED", 401),
    errors.ScopeTooSmall: ErrorRow("UNAUTHORIZED", 401),
    errors.AccessRefused: ErrorRow("DENIED", 403),
    errors.TooManyTries: ErrorRow("TOOMANYREQUESTS", 429),
    errors.Conflict: ErrorRow("DENIED", 409),
    errors.PreconditionFailed: ErrorRow("DENIED", 412),
    errors.Invalid: ErrorRow("UNSUPPORTED", 400),
    errors.AccountInvalid: ErrorRow("NAME_INVALID", 400),
    errors.PasswordInvalid: ErrorRow("UNSUPPORTED", 400),
    errors.SettingsInvalid: ErrorRow("UNSUPPORTED", 400),
    errors.AddressRefused: ErrorRow("UNSUPPORTED", 400),
    errors.NameInvalid: ErrorRow("NAME_INVALID", 400),
    errors.TagInvalid: ErrorRow("TAG_INVALID", 400),
    errors.DigestInvalid: ErrorRow("DIGEST_INVALID", 400),
    errors.SizeInvalid: ErrorRow("SIZE_INVALID", 400),
    errors.PageInvalid: ErrorRow("PAGINATION_NUMBER_INVALID", 400),
    errors.RangesTooMany: ErrorRow("RANGE_INVALID", 400),  # clients halve the ranges on 400 only
    errors.QueryTooLong: ErrorRow("TAG_INVALID", 414),
    errors.ManifestInvalid: ErrorRow("MANIFEST_INVALID", 400),
    errors.ManifestBlobUnknown: ErrorRow("MANIFEST_BLOB_UNKNOWN", 400),
    errors.RangeInvalid: ErrorRow("RANGE_INVALID", 416),
    errors.TooLarge: ErrorRow("MANIFEST_INVALID", 413),  # only manifests have a limit
    errors.OperationUnsupported: ErrorRow("UNSUPPORTED", 405),
    errors.Unavailable: ErrorRow("UNAVAILABLE", 503),
    errors.UploadBusy: ErrorRow("UNAVAILABLE", 503),
    errors.UploadsTooMany: ErrorRow("UNAVAILABLE", 503),
    errors.ServerBusy: ErrorRow("UNAVAILABLE", 503),
    errors.CallFailed: ErrorRow("UNAVAILABLE", 503),
    errors.DirectoryUnavailable: ErrorRow("UNAVAILABLE", 503),
    errors.DirectoryObjectMissing: ErrorRow("UNAVAILABLE", 503),
    errors.IssuerUnavailable: ErrorRow("UNAVAILABLE", 503),
    errors.StorageFull: ErrorRow("DENIED", 507),
    errors.StorageFailed: ErrorRow("UNKNOWN", 500),
    errors.BackupFailed: ErrorRow("UNKNOWN", 500),
    errors.Corrupt: ErrorRow("UNKNOWN", 500),
    errors.Unreadable: ErrorRow("UNKNOWN", 500),
    # These stop the program before it listens. They have rows so that the table is complete.
    errors.StartRefused: ErrorRow("UNKNOWN", 500),
    errors.ConfigInvalid: ErrorRow("UNKNOWN", 500),
    errors.DataDirectoryLocked: ErrorRow("UNKNOWN", 500),
    errors.FormatUnknown: ErrorRow("UNKNOWN", 500),
    errors.FileSystemUnsupported: ErrorRow("UNKNOWN", 500),
}


class ErrorEntry(msgspec.Struct):
    """One reason: a code of the protocol, and a sentence with the next step. `detail` of a wrong
    field of a request's body, or of a piece of its path, has its name, `field`, and the `reason`
    alone.
    """

    code: str
    message: str
    detail: Any = None


class ErrorBody(msgspec.Struct):
    """The body of every refusal."""

    errors: list[ErrorEntry]


_encoder = msgspec.json.Encoder()


def row_of(error: DtrfastError) -> ErrorRow:
    """Return the row of an exception: that of its class, or of the nearest base class."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


def error_answer(error: DtrfastError, headers: Mapping[str, str] | None = None) -> Answer:
    """Return the answer to an exception, with `headers` added to its own."""
    code, status = row_of(error)
    entries = list(_entries(error, code))
    return _answer(entries, status, {**_headers(error), **(headers or {})})


def error_response(error: DtrfastError, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer to an exception as a response of Starlette."""
    return error_answer(error, headers).response()


def unexpected_response() -> Response:
    """Return the answer to an unexpected exception. It shows nothing of the exception."""
    message = "the registry failed unexpectedly; its log has the details"
    return _response([ErrorEntry("UNKNOWN", message)], 500, {})


def idle_response() -> Response:
    """Return the answer to a client that stopped in the middle of its body."""
    message = "the request body stopped arriving; the received bytes of an upload are kept"
    return _response([ErrorEntry("UNAVAILABLE", message)], 408, {"connection": "close"})


def missing_page_response() -> Response:
    """Return the answer at an unknown path."""
    return _response([ErrorEntry("NAME_UNKNOWN", "there is nothing at this address")], 404, {})


def _entries(error: DtrfastError, code: str) -> Iterator[ErrorEntry]:
    if isinstance(error, ManifestBlobUnknown):
        for digest in error.digests:
            yield ErrorEntry(code, error.message, digest)
    elif error.problems:
        for one in error.problems:
            yield ErrorEntry(code, str(one), {"field": one.field, "reason": one.reason})
    else:
        yield ErrorEntry(code, error.message, error.detail)


def _headers(error: DtrfastError) -> dict[str, str]:
    if isinstance(error, Unavailable):
        return {"retry-after": str(error.retry_seconds)}
    if isinstance(error, errors.TooManyTries):
        return {"retry-after": str(error.seconds)}
    if isinstance(error, RangeInvalid) and error.size is not None:
        return {"content-range": unsatisfied_range(error.size)}
    return {}


def _response(entries: list[ErrorEntry], status: int, headers: Mapping[str, str]) -> Response:
    return _answer(entries, status, headers).response()


def _answer(entries: list[ErrorEntry], status: int, headers: Mapping[str, str]) -> Answer:
    body = _encoder.encode(ErrorBody(entries))
    size = str(len(body))
    return Answer(
        status, {**headers, "content-type": "application/json", "content-length": size}, body
    )

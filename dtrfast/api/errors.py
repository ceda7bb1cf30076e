"""Errors on the wire: one table from exception to code and status, and the only place that builds
an error body (distribution specification, "Error Codes").
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
    """The client closed its connection: nobody is left to answer."""


class ClientIdle(Exception):
    """The client stopped sending in the middle of a body."""


class Row(NamedTuple):
    """How an exception is told to the client."""

    code: str
    status: int


# Docker's retries hang on the code: DENIED, UNAUTHORIZED, UNSUPPORTED and NAME_UNKNOWN stop them,
# UNAVAILABLE does not. They stop for nothing whose message is the one that distribution has for the
# code ("authentication required"): such an error is another type there, which docker does not
# look for. Every class of the tree has a row; a test enumerates them.
TABLE: Mapping[type[DtrfastError], Row] = {
    DtrfastError: Row("UNKNOWN", 500),
    errors.NotFound: Row("NAME_UNKNOWN", 404),
    errors.BlobUnknown: Row("BLOB_UNKNOWN", 404),
    errors.ManifestUnknown: Row("MANIFEST_UNKNOWN", 404),
    errors.RepositoryUnknown: Row("NAME_UNKNOWN", 404),
    errors.RepositoryHidden: Row("NAME_UNKNOWN", 404),
    errors.UploadUnknown: Row("BLOB_UPLOAD_UNKNOWN", 404),
    errors.AccountUnknown: Row("NAME_UNKNOWN", 404),
    errors.TeamUnknown: Row("NAME_UNKNOWN", 404),
    errors.GrantUnknown: Row("NAME_UNKNOWN", 404),
    errors.CredentialUnknown: Row("NAME_UNKNOWN", 404),
    errors.Unidentified: Row("UNAUTHORIZED", 401),
    errors.SignInRequired: Row("UNAUTHORIZED", 401),
    errors.SignInFailed: Row("UNAUTHORIZED", 401),
    errors.TokenInvalid: Row("UNAUTHORIZED", 401),
    errors.ScopeTooSmall: Row("UNAUTHORIZED", 401),
    errors.Denied: Row("DENIED", 403),
    errors.TooManyTries: Row("TOOMANYREQUESTS", 429),
    errors.Conflict: Row("DENIED", 409),
    errors.PreconditionFailed: Row("DENIED", 412),
    errors.Invalid: Row("UNSUPPORTED", 400),
    errors.AccountInvalid: Row("NAME_INVALID", 400),
    errors.PasswordInvalid: Row("UNSUPPORTED", 400),
    errors.SettingsInvalid: Row("UNSUPPORTED", 400),
    errors.AddressRefused: Row("UNSUPPORTED", 400),
    errors.NameInvalid: Row("NAME_INVALID", 400),
    errors.TagInvalid: Row("TAG_INVALID", 400),
    errors.DigestInvalid: Row("DIGEST_INVALID", 400),
    errors.SizeInvalid: Row("SIZE_INVALID", 400),
    errors.PageInvalid: Row("PAGINATION_NUMBER_INVALID", 400),
    errors.RangesTooMany: Row("RANGE_INVALID", 400),  # clients halve on 400, and on nothing else
    errors.QueryTooLong: Row("TAG_INVALID", 414),
    errors.ManifestInvalid: Row("MANIFEST_INVALID", 400),
    errors.ManifestBlobUnknown: Row("MANIFEST_BLOB_UNKNOWN", 400),
    errors.RangeInvalid: Row("RANGE_INVALID", 416),
    errors.TooLarge: Row("MANIFEST_INVALID", 413),  # blobs have no limit
    errors.Unsupported: Row("UNSUPPORTED", 405),
    errors.Unavailable: Row("UNAVAILABLE", 503),
    errors.UploadBusy: Row("UNAVAILABLE", 503),
    errors.UploadsTooMany: Row("UNAVAILABLE", 503),
    errors.Overloaded: Row("UNAVAILABLE", 503),
    errors.CallFailed: Row("UNAVAILABLE", 503),
    errors.DirectoryUnavailable: Row("UNAVAILABLE", 503),
    errors.DirectoryObjectMissing: Row("UNAVAILABLE", 503),
    errors.IssuerUnavailable: Row("UNAVAILABLE", 503),
    errors.StorageFull: Row("DENIED", 507),
    errors.StorageFailed: Row("UNKNOWN", 500),
    errors.BackupFailed: Row("UNKNOWN", 500),
    errors.Corrupt: Row("UNKNOWN", 500),
    errors.Unreadable: Row("UNKNOWN", 500),
    # These stop the program before it listens; they have a row so that the table is total.
    errors.StartRefused: Row("UNKNOWN", 500),
    errors.ConfigInvalid: Row("UNKNOWN", 500),
    errors.DataDirectoryLocked: Row("UNKNOWN", 500),
    errors.FormatUnknown: Row("UNKNOWN", 500),
    errors.FileSystemUnsupported: Row("UNKNOWN", 500),
}


class ErrorEntry(msgspec.Struct):
    """One reason: a code of the protocol, and a sentence that tells what to do."""

    code: str
    message: str
    detail: Any = None


class ErrorBody(msgspec.Struct):
    """What every refusal says."""

    errors: list[ErrorEntry]


_encoder = msgspec.json.Encoder()


def row_of(error: DtrfastError) -> Row:
    """The row of the nearest class."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


def error_answer(error: DtrfastError, headers: Mapping[str, str] | None = None) -> Answer:
    """The answer to an exception, with `headers` besides its own."""
    code, status = row_of(error)
    entries = list(_entries(error, code))
    return _answer(entries, status, {**_headers(error), **(headers or {})})


def error_response(error: DtrfastError, headers: Mapping[str, str] | None = None) -> Response:
    """`error_answer`, to be sent by Starlette."""
    return error_answer(error, headers).response()


def unexpected_response() -> Response:
    """The answer to a bug: nothing of it is shown."""
    message = "something went wrong inside the registry; its log says what"
    return _response([ErrorEntry("UNKNOWN", message)], 500, {})


def idle_response() -> Response:
    """The answer to a client that stopped in the middle of its body."""
    message = "the request stopped arriving; what came is kept if it was an upload"
    return _response([ErrorEntry("UNAVAILABLE", message)], 408, {"connection": "close"})


def missing_page_response() -> Response:
    """The answer where there is nothing at all."""
    return _response([ErrorEntry("NAME_UNKNOWN", "there is nothing at this address")], 404, {})


def _entries(error: DtrfastError, code: str) -> Iterator[ErrorEntry]:
    if isinstance(error, ManifestBlobUnknown):
        for digest in error.digests:
            yield ErrorEntry(code, error.message, digest)
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

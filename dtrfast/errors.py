"""All exceptions of dtrfast. `api/errors.py` maps each leaf to a protocol code and an HTTP status.

    DtrfastError
    ├── NotFound        the named object does not exist
    │   ├── BlobUnknown, ManifestUnknown, UploadUnknown, RepositoryUnknown (RepositoryHidden)
    │   └── AccountUnknown, TeamUnknown, GrantUnknown, CredentialUnknown
    ├── CallerUnknown    the caller's identity is not proven
    │   ├── SignInRequired   the request has no credential
    │   ├── SignInFailed     wrong name or password
    │   ├── TokenInvalid     an invalid token or another invalid credential
    │   └── ScopeTooSmall    the token's scope does not cover the operation
    ├── AccessRefused          the caller is known and lacks the permission
    ├── TooManyTries    sign-in is limited for a while
    ├── Conflict        the request contradicts the current state
    │   └── PreconditionFailed   a condition of the request is false
    ├── Invalid         the request is malformed or breaks a rule
    │   ├── NameInvalid, TagInvalid, DigestInvalid, SizeInvalid, PageInvalid
    │   ├── AccountInvalid, PasswordInvalid, SettingsInvalid
    │   ├── AddressRefused   another service that this registry may not call
    │   ├── RangesTooMany, QueryTooLong
    │   └── ManifestInvalid, ManifestBlobUnknown
    ├── RangeInvalid    a range outside the content, or a chunk that does not continue its upload
    ├── TooLarge        a body exceeds its limit
    ├── OperationUnsupported     the operation is switched off or does not exist
    ├── Unavailable     the same request may succeed later
    │   ├── UploadBusy  another request holds the upload
    │   ├── UploadsTooMany   a user has the maximum number of open uploads
    │   ├── ServerBusy
    │   ├── CallFailed  another service does not answer
    │   ├── DirectoryUnavailable ── DirectoryObjectMissing
    │   └── IssuerUnavailable
    ├── StorageFull     the disk has no free space
    ├── StorageFailed   the disk returned an error; nothing was acknowledged
    ├── BackupFailed    a backup cannot be made, found or read
    ├── Corrupt         bytes on disk differ from those that were written
    │   └── Unreadable  one object of a backup cannot be read
    └── StartRefused    the server cannot start (never reaches a client)
        └── ConfigInvalid, DataDirectoryLocked, FormatUnknown, FileSystemUnsupported

`str(error)` is one sentence that tells the user what to do next. Other values are attributes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """A wrong field of a request's body, such as `userSets[0].baseDn`, or a piece of its path, such
    as `trust`; and the reason.
    """

    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


class DtrfastError(Exception):
    """The base of all exceptions that dtrfast raises on purpose.

    `advice` is appended to the message; only the caller may read it. `reason` is the message
    without the advice, for audit events, which other users read. `problems` are the wrong fields of
    the request, if the error is about fields.
    """

    def __init__(self, message: str, *, detail: object = None, advice: str = "") -> None:
        self.reason = message
        self.message = f"{message}; {advice}" if advice else message
        self.detail = detail
        self.problems: tuple[FieldProblem, ...] = ()
        super().__init__(self.message)

    @classmethod
    def of(cls, problems: Sequence[FieldProblem]) -> Self:
        """Return the error that tells all wrong fields of a request at once."""
        error = cls("; ".join(map(str, problems)))
        error.problems = tuple(problems)
        return error


class NotFound(DtrfastError):
    """The named object does not exist, or the caller may not know that it exists."""


class BlobUnknown(NotFound):
    """No such blob in this repository."""


class ManifestUnknown(NotFound):
    """No such tag or manifest in this repository."""


class RepositoryUnknown(NotFound):
    """No repository has this name."""


class RepositoryHidden(RepositoryUnknown):
    """A repository that the caller cannot see. It may exist or not."""


class UploadUnknown(NotFound):
    """No such upload, or it has expired."""


class AccountUnknown(NotFound):
    """No user or organization has this name."""


class TeamUnknown(NotFound):
    """The organization has no such team, or the team has no such member."""


class GrantUnknown(NotFound):
    """No such grant."""


class CredentialUnknown(NotFound):
    """No such token, session, issuer or trust."""


class CallerUnknown(DtrfastError):
    """The caller's identity is not proven. Signing in may help."""


class SignInRequired(CallerUnknown):
    """The request has no credential, and the operation is not public."""


class SignInFailed(CallerUnknown):
    """Wrong name or password. The message does not say which of them is wrong."""


class TokenInvalid(CallerUnknown):
    """An invalid token or another invalid credential. The message never contains it."""


class ScopeTooSmall(CallerUnknown):
    """The token's scope does not cover the operation, even if its owner has the permission."""


class AccessRefused(DtrfastError):
    """The caller is known and lacks the permission."""


class TooManyTries(DtrfastError):
    """Sign-in is refused for `seconds`, even with the right password."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many failed tries to sign in: wait {seconds} s, then try again")
        self.seconds = seconds


class Conflict(DtrfastError):
    """The request contradicts the current state. The message says what to change."""


class PreconditionFailed(Conflict):
    """If-Match or If-None-Match is false for the current content."""


class Invalid(DtrfastError):
    """The request is malformed or breaks a rule."""


class NameInvalid(Invalid):
    """Not a repository name."""


class TagInvalid(Invalid):
    """Not a tag."""


class DigestInvalid(Invalid):
    """A digest that is malformed, unsupported or missing, or that does not match the content."""


class ManifestInvalid(Invalid):
    """Not a manifest that this registry accepts."""


class ManifestBlobUnknown(Invalid):
    """A manifest refers to content that the repository does not hold.

    `digests` lists all missing ones; the protocol requires an error entry for each.
    """

    def __init__(self, digests: tuple[str, ...]) -> None:
        super().__init__(
            "the manifest refers to content that is not in this repository: push it first"
        )
        self.digests = digests


class AccountInvalid(Invalid):
    """An invalid name of an account, team or credential, or an operation that does not fit it."""


class PasswordInvalid(Invalid):
    """A new password that is too short, too long, or too easy to guess."""


# The field of a document with which a message may begin: `scopes[0].repository: `.
_FIELD = re.compile(
    r"(?P<field>[A-Za-z]+(?:\[\d+\])?(?:\.[A-Za-z]+(?:\[\d+\])?)*): (?P<reason>.+)", re.DOTALL
)


class SettingsInvalid(Invalid):
    """An invalid value in a settings document, a certificate or another document.

    A message `field: reason` is about one field.
    """

    def __init__(self, message: str, *, detail: object = None, advice: str = "") -> None:
        super().__init__(message, detail=detail, advice=advice)
        found = _FIELD.fullmatch(message)
        self.problems = (FieldProblem(found["field"], found["reason"]),) if found else ()

    def within(self, place: str) -> SettingsInvalid:
        """Return this error with its fields below a place of the document: `issuers[0]`. An error
        about no field stays as it is.
        """
        if not self.problems:
            return self
        inner = [FieldProblem(f"{place}.{one.field}", one.reason) for one in self.problems]
        return SettingsInvalid.of(inner)


class AddressRefused(Invalid):
    """The address of another service that this registry may not call."""


class SizeInvalid(Invalid):
    """A body is longer or shorter than announced."""


class PageInvalid(Invalid):
    """An invalid `n` or cursor of a list."""


class RangesTooMany(Invalid):
    """More ranges in a header than allowed. Clients halve the list and retry."""


class QueryTooLong(Invalid):
    """More values in a query than allowed."""


class RangeInvalid(DtrfastError):
    """A range outside the content, or a chunk that does not continue its upload.

    `size` is the blob's size in bytes if a blob was read. `offset` is the number of bytes that the
    upload has if an upload was written.
    """

    def __init__(self, message: str, *, size: int | None = None, offset: int | None = None) -> None:
        super().__init__(message)
        self.size = size
        self.offset = offset


class TooLarge(DtrfastError):
    """A body exceeds its limit."""


class OperationUnsupported(DtrfastError):
    """The operation is switched off or does not exist."""


class Unavailable(DtrfastError):
    """A temporary failure: the same request may succeed in `retry_seconds`."""

    retry_seconds = 1


class UploadBusy(Unavailable):
    """Another request is writing to this upload."""


class UploadsTooMany(Unavailable):
    """A user has the maximum number of open uploads."""

    retry_seconds = 60


class ServerBusy(Unavailable):
    """The server's queue of waiting requests is full."""


class CallFailed(Unavailable):
    """Another service does not answer, or its answer exceeds the limits."""


class DirectoryUnavailable(Unavailable):
    """The LDAP server does not answer."""


class DirectoryObjectMissing(DirectoryUnavailable):
    """The LDAP server answers but does not return an object that the settings name."""


class IssuerUnavailable(Unavailable):
    """The keys of a token issuer cannot be fetched at present."""


class StorageFull(DtrfastError):
    """The data directory's file system has no free space."""


class StorageFailed(DtrfastError):
    """The disk returned an error. The data of the request is dropped and not acknowledged."""


class BackupFailed(DtrfastError):
    """A backup cannot be made, found or read. The message says what to do."""


class Corrupt(DtrfastError):
    """Bytes read from disk differ from those that were written."""


class Unreadable(Corrupt):
    """The operating system cannot read one object of a backup, although the backup is reachable."""


class StartRefused(DtrfastError):
    """The program cannot start. The message says what to change."""


class ConfigInvalid(StartRefused):
    """An unknown setting or an invalid value."""


class DataDirectoryLocked(StartRefused):
    """Another server uses this data directory."""


class FormatUnknown(StartRefused):
    """The data directory was written by a newer dtrfast, or not by dtrfast."""


class FileSystemUnsupported(StartRefused):
    """The data directory is on a network file system, where locks and mapped files do not work."""

"""The whole exception tree. `api/errors.py` maps each leaf to a protocol code and an HTTP status.

    DtrfastError
    ├── NotFound        the named thing is not there
    │   ├── BlobUnknown, ManifestUnknown, UploadUnknown, RepositoryUnknown (RepositoryHidden)
    │   └── AccountUnknown, TeamUnknown, GrantUnknown, CredentialUnknown
    ├── Unidentified    it is not known who asks
    │   ├── SignInRequired   nobody said who asks
    │   ├── SignInFailed     a name and a password that do not belong together
    │   ├── TokenInvalid     a token or another credential that does not count
    │   └── ScopeTooSmall    a token that bounds what its owner may do
    ├── Denied          who asks may not do that
    ├── TooManyTries    sign-in is limited for a while
    ├── Conflict        what is there does not go together with the request
    │   └── PreconditionFailed   a condition of the request is false
    ├── Invalid         the request cannot mean anything
    │   ├── NameInvalid, TagInvalid, DigestInvalid, SizeInvalid, PageInvalid
    │   ├── AccountInvalid, PasswordInvalid, SettingsInvalid
    │   ├── AddressRefused   another service that this registry may not call
    │   ├── RangesTooMany, QueryTooLong
    │   └── ManifestInvalid, ManifestBlobUnknown
    ├── RangeInvalid    outside the content, or a chunk that does not continue its upload
    ├── TooLarge        a body is over its limit
    ├── Unsupported     the operation is switched off or does not exist
    ├── Unavailable     try again
    │   ├── UploadBusy  another request holds the upload
    │   ├── UploadsTooMany   a user has as many open uploads as it may
    │   ├── Overloaded
    │   ├── CallFailed  another service does not answer
    │   ├── DirectoryUnavailable ── DirectoryObjectMissing
    │   └── IssuerUnavailable
    ├── StorageFull     the disk has no room
    ├── StorageFailed   the disk answered with an error; nothing was acknowledged
    ├── Corrupt         bytes on disk are not what they were
    │   └── Unreadable  an object of a backup cannot be read, others can
    └── StartRefused    the server cannot start (never reaches a client)
        ├── ConfigInvalid, DataDirectoryLocked, FormatUnknown, FileSystemUnsupported

Classes carry attributes; `str(error)` is one sentence that tells the user what to do next.
"""

from __future__ import annotations


class DtrfastError(Exception):
    """Base of everything this package raises on purpose.

    `advice` is the end of the message that only the caller may read. `reason` is the message
    without it, for audit events, which others read.
    """

    def __init__(self, message: str, *, detail: object = None, advice: str = "") -> None:
        self.reason = message
        self.message = f"{message}; {advice}" if advice else message
        self.detail = detail
        super().__init__(self.message)


class NotFound(DtrfastError):
    """The named thing is not there (or the caller may not know that it is)."""


class BlobUnknown(NotFound):
    """No such blob in this repository."""


class ManifestUnknown(NotFound):
    """No such tag or manifest in this repository."""


class RepositoryUnknown(NotFound):
    """No repository has this name."""


class RepositoryHidden(RepositoryUnknown):
    """A repository that the caller may not know of, whether it is there or not."""


class UploadUnknown(NotFound):
    """No such upload, or it has expired."""


class AccountUnknown(NotFound):
    """No user or organization has this name."""


class TeamUnknown(NotFound):
    """The organization has no such team, or the team no such member."""


class GrantUnknown(NotFound):
    """Nobody granted that."""


class CredentialUnknown(NotFound):
    """No such token, session, issuer or trust."""


class Unidentified(DtrfastError):
    """It is not known who asks: signing in may help."""


class SignInRequired(Unidentified):
    """Nobody said who asks, and not everybody may do that."""


class SignInFailed(Unidentified):
    """A name and a password that do not belong together; which of them is wrong is not said."""


class TokenInvalid(Unidentified):
    """A token or another credential that does not count. The message never contains it."""


class ScopeTooSmall(Unidentified):
    """A token that bounds what its owner may do, to less than this."""


class Denied(DtrfastError):
    """Who asks is known, and may not do that."""


class TooManyTries(DtrfastError):
    """Sign-in is refused for `seconds`, whatever the password."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many failed tries to sign in: wait {seconds} s, then try again")
        self.seconds = seconds


class Conflict(DtrfastError):
    """What is there does not go together with the request: the message says what to change."""


class PreconditionFailed(Conflict):
    """If-Match or If-None-Match is false of what is there."""


class Invalid(DtrfastError):
    """The request cannot mean anything."""


class NameInvalid(Invalid):
    """Not a repository name."""


class TagInvalid(Invalid):
    """Not a tag."""


class DigestInvalid(Invalid):
    """A malformed, unsupported or missing digest, or one that the content does not have."""


class ManifestInvalid(Invalid):
    """Not a manifest that this registry accepts."""


class ManifestBlobUnknown(Invalid):
    """A manifest refers to content that the repository does not hold.

    `digests` lists every missing one; the protocol wants an error entry for each.
    """

    def __init__(self, digests: tuple[str, ...]) -> None:
        super().__init__(
            "the manifest refers to content that is not in this repository: push it first"
        )
        self.digests = digests


class AccountInvalid(Invalid):
    """Not a name that an account, a team or a credential may have, or not a use for this one."""


class PasswordInvalid(Invalid):
    """A new password that is too short, too long, or too easy to guess."""


class SettingsInvalid(Invalid):
    """A setting, or another document, that cannot be honoured."""


class AddressRefused(Invalid):
    """The address of another service that this registry may not call."""


class SizeInvalid(Invalid):
    """A body is longer or shorter than announced."""


class PageInvalid(Invalid):
    """`n` is not a count."""


class RangesTooMany(Invalid):
    """More ranges in a header than one answer may carry; clients halve them and ask again."""


class QueryTooLong(Invalid):
    """More values in a query than one request may carry."""


class RangeInvalid(DtrfastError):
    """A range outside the content, or a chunk that does not continue its upload.

    `size` is the blob's size where a blob was read, `offset` how far an upload has come that was
    written.
    """

    def __init__(self, message: str, *, size: int | None = None, offset: int | None = None) -> None:
        super().__init__(message)
        self.size = size
        self.offset = offset


class TooLarge(DtrfastError):
    """A body is over its limit."""


class Unsupported(DtrfastError):
    """The operation is switched off here, or does not exist."""


class Unavailable(DtrfastError):
    """Not now: the same request may succeed in `retry_seconds`."""

    retry_seconds = 1


class UploadBusy(Unavailable):
    """Another request is writing to this upload."""


class UploadsTooMany(Unavailable):
    """A user has as many open uploads as it may."""

    retry_seconds = 60


class Overloaded(Unavailable):
    """More work is waiting than the server lets wait."""


class CallFailed(Unavailable):
    """Another service does not answer, or not within the limits."""


class DirectoryUnavailable(Unavailable):
    """The LDAP server does not answer."""


class DirectoryObjectMissing(DirectoryUnavailable):
    """The LDAP server answers, but does not show an object that the settings name."""


class IssuerUnavailable(Unavailable):
    """An issuer of tokens does not publish its keys just now."""


class StorageFull(DtrfastError):
    """The data directory's file system has no room left."""


class StorageFailed(DtrfastError):
    """The disk answered with an error; what the request wrote is not acknowledged, but dropped."""


class BackupFailed(DtrfastError):
    """A backup cannot be made, found or read; the message says what to do."""


class Corrupt(DtrfastError):
    """Bytes read from disk are not what was written."""


class Unreadable(Corrupt):
    """The operating system refuses one object of a backup, and its place is there."""


class StartRefused(DtrfastError):
    """The program cannot start; the message says what to change."""


class ConfigInvalid(StartRefused):
    """An unknown setting, or a value that cannot be honoured."""


class DataDirectoryLocked(StartRefused):
    """Another server uses this data directory."""


class FormatUnknown(StartRefused):
    """The data directory was written by a newer dtrfast, or is not one of ours."""


class FileSystemUnsupported(StartRefused):
    """The data directory lies on a file system that cannot keep the promises (NFS, CIFS)."""

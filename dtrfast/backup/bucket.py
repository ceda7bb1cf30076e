"""Objects in a bucket. Only this module imports `obstore`, the S3 client.

Every object is written by one PUT. An interrupted multipart upload would stay open, and cost money,
until a rule of the bucket ends it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError
from obstore.store import S3Store

from dtrfast.backup.directory import ObjectInfo, check_size
from dtrfast.errors import BackupFailed
from dtrfast.outgoing.permit import DIRECT, OutgoingPolicy

if TYPE_CHECKING:
    from obstore.store import ClientConfig

_READ_SIZE = 1 << 20
_DELETED_MAX = 500  # S3 takes a thousand
# A PUT of 16 MiB at 32 kB/s takes 9 minutes. The library's default is 30 s.
_TIMEOUT = timedelta(minutes=10)
# Without a proxy here the library would use that of the environment. This one gets no request: the
# star excludes all names, and the networks exclude all addresses.
_NO_PROXY = ("http://127.0.0.1:9", "*,0.0.0.0/0,::/0")
# Answers of services that do not support If-None-Match. S3's own error code is NotImplemented.
_find_unknown = re.compile(
    r"<Code>NotImplemented|status code: (501|405|400 .*<Code>Invalid(Argument|Request))"
).search


class Bucket:
    """`s3://BUCKET/PREFIX`, set up by the usual AWS environment variables.

    Safe to use from several threads. All methods raise `BackupFailed`.
    """

    def __init__(self, url: str, outgoing: OutgoingPolicy = DIRECT) -> None:
        proxy, excludes = outgoing.library_proxy() or _NO_PROXY
        options: ClientConfig = {
            "timeout": _TIMEOUT,
            "allow_http": os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"),
            "proxy_url": proxy,
            "proxy_excludes": excludes,
        }
        with _reported(url):
            self._store = S3Store.from_url(url, client_options=options)
        self._url = url

    def put(self, name: str, content: bytes) -> None:
        """Write an object, and replace one of that name."""
        with _reported(name):
            obstore.put(self._store, name, content, use_multipart=False)

    def create(self, name: str, content: bytes) -> bool:
        """Write an object unless it exists. Returns False if it exists. Raises `BackupFailed` also
        for a service without conditional writes.
        """
        with _reported(name):
            try:
                obstore.put(self._store, name, content, mode="create", use_multipart=False)
            except (FileExistsError, AlreadyExistsError):
                return False
            except BaseError as error:
                if isinstance(error, NotSupportedError) or _find_unknown(str(error)):
                    raise BackupFailed(no_conditions(self._url)) from error
                raise
        return True

    def stream(self, name: str, size_max: int | None = None) -> Iterator[bytes]:
        """Yield an object's bytes in pieces. The first step raises `FileNotFoundError` if there is
        no such object, and `Corrupt` if it has more than `size_max` bytes.
        """
        with _reported(name, FileNotFoundError):
            found = obstore.get(self._store, name)
            check_size(name, found.meta["size"], size_max)
            for piece in found.stream(min_chunk_size=_READ_SIZE):
                yield bytes(piece)

    def found(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield all objects below a prefix, which ends in a slash."""
        with _reported(prefix):
            for batch in obstore.list(self._store, prefix):
                for meta in batch:
                    yield ObjectInfo(meta["path"], meta["size"], meta["last_modified"].timestamp())

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects. Missing objects are ignored."""
        left = list(names)
        for first in range(0, len(left), _DELETED_MAX):
            batch = left[first : first + _DELETED_MAX]
            with _reported("objects"):
                try:
                    obstore.delete(self._store, batch)
                except FileNotFoundError:  # one by one: a missing object may have ended the batch
                    for name in batch:
                        with suppress(FileNotFoundError):
                            obstore.delete(self._store, name)


def no_conditions(url: str) -> str:
    """Return the message about a service without conditional writes."""
    return (
        f"the service of {url} has no conditional writes (PUT with If-None-Match), which keep the"
        " backups of two registries apart: update it, or use a bucket of another service, or a"
        " directory"
    )


@contextmanager
def _reported(name: str, passing: type[OSError] | tuple[()] = ()) -> Iterator[None]:
    """Raise `BackupFailed` in place of the library's errors, except for `passing`."""
    try:
        yield
    except passing:
        raise
    except (BaseError, OSError) as error:
        first = str(error).strip().partition("\n")[0]
        raise BackupFailed(f"{name}: {first}") from error

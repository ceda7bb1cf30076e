"""Objects in a bucket. The only module that imports `obstore`, which speaks S3.

Every object is one PUT. A multipart upload that is cut off would stay open, and cost money, until
a rule of the bucket ends it.
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

from dtrfast.backup.directory import Found, check_size
from dtrfast.errors import BackupFailed
from dtrfast.outgoing.permit import DIRECT, Outgoing

if TYPE_CHECKING:
    from obstore.store import ClientConfig

_READ_SIZE = 1 << 20
_DELETED_MAX = 500  # S3 takes a thousand
# A PUT of 16 MiB on a line of 32 kB/s; the library's own limit is 30 s.
_TIMEOUT = timedelta(minutes=10)
# Without a proxy of ours the library takes the one of the environment. This one is never asked: the
# star stands for all names, the networks for all addresses.
_NO_PROXY = ("http://127.0.0.1:9", "*,0.0.0.0/0,::/0")
# Answers of stores that do not know If-None-Match. S3's own error code is NotImplemented.
_find_unknown = re.compile(
    r"<Code>NotImplemented|status code: (501|405|400 .*<Code>Invalid(Argument|Request))"
).search


class Bucket:
    """`s3://BUCKET/PREFIX` with the usual AWS variables. Safe from several threads. All methods
    raise `BackupFailed`.
    """

    def __init__(self, url: str, outgoing: Outgoing = DIRECT) -> None:
        proxy, excludes = outgoing.library_proxy() or _NO_PROXY
        options: ClientConfig = {
            "timeout": _TIMEOUT,
            "allow_http": _is_plain_http(),
            "proxy_url": proxy,
            "proxy_excludes": excludes,
        }
        with _reported(url):
            self._store = S3Store.from_url(url, client_options=options)
        self._url = url

    def put(self, name: str, content: bytes) -> None:
        with _reported(name):
            obstore.put(self._store, name, content, use_multipart=False)

    def create(self, name: str, content: bytes) -> bool:
        """Write an object if it is not there; False if it is. Says so if the store cannot."""
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
        """An object's bytes in pieces. The first step raises `FileNotFoundError` if there is none,
        and `Corrupt` if it is larger than that.
        """
        with _reported(name, FileNotFoundError):
            found = obstore.get(self._store, name)
            check_size(name, found.meta["size"], size_max)
            for piece in found.stream(min_chunk_size=_READ_SIZE):
                yield bytes(piece)

    def found(self, prefix: str) -> Iterator[Found]:
        """All objects below a prefix, which ends in a slash."""
        with _reported(prefix):
            for batch in obstore.list(self._store, prefix):
                for meta in batch:
                    yield Found(meta["path"], meta["size"], meta["last_modified"].timestamp())

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; those that are not there are fine."""
        left = list(names)
        for first in range(0, len(left), _DELETED_MAX):
            some = left[first : first + _DELETED_MAX]
            with _reported("objects"):
                try:
                    obstore.delete(self._store, some)
                except FileNotFoundError:
                    for name in some:
                        self._delete_one(name)

    def _delete_one(self, name: str) -> None:
        with suppress(FileNotFoundError):
            obstore.delete(self._store, name)


def no_conditions(url: str) -> str:
    return (
        f"the store of {url} has no conditional writes (PUT with If-None-Match), which keep the"
        " backups of two registries apart: update it, or name a bucket of another store or a"
        " directory"
    )


def _is_plain_http() -> bool:
    return os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")


@contextmanager
def _reported(name: str, passing: type[OSError] | tuple[()] = ()) -> Iterator[None]:
    """Turn what a store says into `BackupFailed`; `passing` stays as it is."""
    try:
        yield
    except passing:
        raise
    except (BaseError, OSError) as error:
        first = str(error).strip().partition("\n")[0]
        raise BackupFailed(f"{name}: {first}") from error

"""Files with a token that an issuer is shown, below directories that the operator named.

A path comes from settings that are changed over the network, so it opens nothing else of this
machine. Each step is opened from the one before without following links; the links of a path are
resolved first, since Kubernetes mounts a token as a link to a link.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack

from dtrfast.errors import SettingsInvalid

_SIZE_MAX = 16_384
_TRIES = 3


class TokenFiles:
    """The files below some directories (`auth.token_file_directories`)."""

    def __init__(self, directories: Sequence[str]) -> None:
        self._directories = tuple(directories)

    def read(self, path: str) -> str:
        """The token in a file. Raises `SettingsInvalid`, which says what to change and never names
        the file: callers without an account may see it.
        """
        if not self._directories:
            raise SettingsInvalid(
                "bearerTokenFile: this registry reads no token files: ask its operator to name"
                " their directory in auth.token_file_directories"
            )
        if not path.startswith("/") or ".." in path.split("/") or "\0" in path:
            raise SettingsInvalid("bearerTokenFile: name a file by its whole path, without ..")
        for attempt in range(_TRIES):
            try:
                return _token(_read(*self._locate(path)))
            except FileNotFoundError as error:
                # The kubelet replaces a token by another link in between, also while it is located.
                if attempt == _TRIES - 1:
                    raise _refusal("the file is not there") from error
            except OSError as error:
                raise _refusal(f"the file cannot be read ({error.strerror})") from error
        raise AssertionError("unreachable")

    def _locate(self, path: str) -> tuple[str, list[str]]:
        """The directory that a path lies below once its links are resolved, and the rest of it."""
        real = os.path.realpath(path)
        for directory in self._directories:
            top = os.path.realpath(directory).rstrip("/")
            if real.startswith(f"{top}/"):
                return top, real[len(top) + 1 :].split("/")
        # The same for a file that is there and one that is not.
        raise SettingsInvalid(
            "bearerTokenFile: the file is not below a directory of auth.token_file_directories:"
            " name one that is, or ask the operator of this registry to add its directory"
        )


def _read(directory: str, pieces: Sequence[str]) -> bytes:
    """At most a little more than the longest token. Raises OSError."""
    with ExitStack() as stack:
        flags = os.O_RDONLY | os.O_CLOEXEC
        at = os.open(directory or "/", flags | os.O_DIRECTORY)
        stack.callback(os.close, at)
        for piece in pieces[:-1]:
            at = os.open(piece, flags | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            stack.callback(os.close, at)
        # Without O_NONBLOCK a pipe would wait for its other end.
        file = os.open(pieces[-1], flags | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
        stack.callback(os.close, file)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(0, "it is no regular file")
        return os.read(file, _SIZE_MAX + 1)


def _token(data: bytes) -> str:
    text = data.decode("ascii", "replace").strip()
    if len(data) > _SIZE_MAX or not text or not all("!" <= letter <= "~" for letter in text):
        raise _refusal("the file holds no token: write one line of at most 16,384 bytes into it")
    return text


def _refusal(reason: str) -> SettingsInvalid:
    return SettingsInvalid(f"bearerTokenFile: {reason}")

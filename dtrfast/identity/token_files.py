"""Files with a token for an issuer, below directories that the operator of this server named.

A client can set a path over the network, so the path must not open any other file. The links of a
path are resolved first: Kubernetes mounts a token as a link to a link. Then each directory is
opened relative to its parent, without following links.
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
        """Return the token in a file. Raises `SettingsInvalid`.

        The message says what to change, and never names the file: callers without an account may
        see it.
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
                data = _read(*self._locate(path))
            except FileNotFoundError as error:
                # The kubelet may replace the link while it is resolved or before it is opened.
                if attempt == _TRIES - 1:
                    raise _refusal("the file is not there") from error
            except OSError as error:
                raise _refusal(f"the file cannot be read ({error.strerror})") from error
            else:
                text = data.decode("ascii", "replace").strip()
                is_printable = all("!" <= letter <= "~" for letter in text)
                if len(data) > _SIZE_MAX or not text or not is_printable:
                    raise _refusal(
                        "the file has no token: write one line of at most 16,384 bytes into it"
                    )
                return text
        raise AssertionError("unreachable")

    def _locate(self, path: str) -> tuple[str, list[str]]:
        """Resolve the links of a path. Return the allowed directory that has the file, and the
        parts of the path below it.
        """
        real = os.path.realpath(path)
        for directory in self._directories:
            top = os.path.realpath(directory).rstrip("/")
            if real.startswith(f"{top}/"):
                return top, real[len(top) + 1 :].split("/")
        # The same error for a file that exists and one that does not.
        raise SettingsInvalid(
            "bearerTokenFile: the file is not below a directory of auth.token_file_directories:"
            " name one that is, or ask the operator of this registry to add its directory"
        )


def _read(directory: str, pieces: Sequence[str]) -> bytes:
    """Return the first `_SIZE_MAX` + 1 bytes of a file. Raises OSError."""
    with ExitStack() as stack:
        flags = os.O_RDONLY | os.O_CLOEXEC
        at = os.open(directory or "/", flags | os.O_DIRECTORY)
        stack.callback(os.close, at)
        for piece in pieces[:-1]:
            at = os.open(piece, flags | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            stack.callback(os.close, at)
        # Without O_NONBLOCK, opening a named pipe would block until a writer opens it.
        file = os.open(pieces[-1], flags | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
        stack.callback(os.close, file)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(0, "it is not a regular file")
        return os.read(file, _SIZE_MAX + 1)


def _refusal(reason: str) -> SettingsInvalid:
    return SettingsInvalid(f"bearerTokenFile: {reason}")

"""Profiles: the registries that a user of this machine has signed in to.

Each profile is a file of its own, `profiles/NAME.json` below `$XDG_CONFIG_HOME/dtrfast` (else
`~/.config/dtrfast`), so that two commands never overwrite each other's profile. The file has a
token, so only its user may read it. `default-profile` has the name of the default one.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from dtrfast.errors import NameInvalid, StartRefused, StorageFailed

_match_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}").fullmatch

_DIRECTORY_MODE = 0o700
_FILE_MODE = 0o600
_OTHERS = 0o077
# A profile with many certificates of authorities stays far below this.
_SIZE_MAX = 4 << 20
_SUFFIX = ".json"


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A registry, a user of it, and the user's token.

    `token_id` is the token's id if `dtrfast login` created the token, else empty. `user` is empty
    for a token that is not one of a user. `authorities` has certificates to trust, as PEM text;
    empty: those of the system.
    """

    url: str
    user: str
    token: str
    token_id: str = ""
    expires_at: str = ""
    authorities: str = ""


class Profiles:
    """The profiles below one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "profiles"
        self._default = directory / "default-profile"

    @staticmethod
    def of_user(environ: Mapping[str, str]) -> Profiles:
        """Return the profiles of this user. Raises `StartRefused` without a home directory."""
        base = environ.get("XDG_CONFIG_HOME", "")
        if not os.path.isabs(base):  # the specification: ignore such a value
            try:
                base = str(Path.home() / ".config")
            except RuntimeError as error:
                raise StartRefused(
                    "there is no home directory for profiles: set HOME or XDG_CONFIG_HOME"
                ) from error
        return Profiles(Path(base) / "dtrfast")

    def names(self) -> list[str]:
        """Return the names of all profiles, sorted."""
        try:
            found = sorted(os.listdir(self._directory))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise _unreadable(self._directory, error) from error
        stems = [name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX)]
        return [stem for stem in stems if _match_name(stem)]

    def get(self, name: str) -> Profile:
        """Return a profile. Raises `StartRefused` if it is missing or cannot be read."""
        path = self.path(name)
        try:
            with path.open("rb") as file:
                is_open_to_others = os.fstat(file.fileno()).st_mode & _OTHERS
                data = file.read(_SIZE_MAX)
        except FileNotFoundError as error:
            known = ", ".join(self.names()) or "none"
            raise StartRefused(
                f"there is no profile {name!r} (there are: {known}): make one with"
                f" `dtrfast login URL --profile {name}`"
            ) from error
        except OSError as error:
            raise _unreadable(path, error) from error
        if is_open_to_others:
            with suppress(OSError):  # another owner's file, or a file system without modes
                path.chmod(_FILE_MODE)
        try:
            return msgspec.json.decode(data, type=Profile)
        except msgspec.DecodeError as error:
            raise StartRefused(
                f"{path} is not a profile ({error}): remove it and sign in again"
            ) from error

    def put(self, name: str, profile: Profile) -> None:
        """Store a profile. Raises `NameInvalid`, `StorageFailed`."""
        self._write(self.path(name), msgspec.json.format(msgspec.json.encode(profile), indent=2))

    def remove(self, name: str) -> None:
        """Remove a profile. If it is the default one, no profile is. Raises `StorageFailed`."""
        if self.default() == name:
            self.set_default("")
        try:
            self.path(name).unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self.path(name), error) from error

    def default(self) -> str:
        """Return the name of the default profile; empty if there is none."""
        try:
            name = self._default.read_text(encoding="ascii", errors="replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except OSError as error:
            raise _unreadable(self._default, error) from error
        return name if _match_name(name) else ""

    def set_default(self, name: str) -> None:
        """Choose the profile for commands that name no registry; empty: none."""
        if name:
            self._write(self._default, f"{name}\n".encode())
            return
        try:
            self._default.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self._default, error) from error

    def path(self, name: str) -> Path:
        """Return the path of a profile's file. Raises `NameInvalid`."""
        if not _match_name(name):
            raise NameInvalid(
                f"{name[:80]!r} is not a name for a profile: use 1 to 64 letters, digits, '.', '_'"
                " and '-', and begin with a letter or a digit"
            )
        return self._directory / (name + _SUFFIX)

    def prepare(self) -> None:
        """Make the directory, so that a profile can be stored. Raises `StorageFailed`."""
        try:
            self._directory.mkdir(_DIRECTORY_MODE, parents=True, exist_ok=True)
            for path in (self._directory, self._directory.parent):
                if path.stat().st_mode & _OTHERS:
                    path.chmod(_DIRECTORY_MODE)
            if not os.access(self._directory, os.W_OK):
                raise PermissionError(13, os.strerror(13))
        except OSError as error:
            raise _unwritable(self._directory, error) from error

    def _write(self, path: Path, data: bytes) -> None:
        """Replace a file at once: a reader sees the old content or the new one."""
        self.prepare()
        path = path.resolve()  # a link into another directory stays a link
        new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            with open(os.open(new, flags, _FILE_MODE), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except OSError as error:
            with suppress(OSError):
                new.unlink(missing_ok=True)
            raise _unwritable(path, error) from error


def _unreadable(path: Path, error: OSError) -> StartRefused:
    return StartRefused(f"{path} cannot be read ({error.strerror})")


def _unwritable(path: Path, error: OSError) -> StorageFailed:
    return StorageFailed(f"{path} cannot be written ({error.strerror})")

"""Sign-ins that ask a directory, few at a time: a directory that hangs holds no other request."""

from __future__ import annotations

from dataclasses import dataclass

from dtrfast.errors import DirectoryUnavailable, Overloaded
from dtrfast.identity.ldap.client import Directory
from dtrfast.identity.ldap.settings import LdapSettings
from dtrfast.identity.turnstile import Turnstile
from dtrfast.outgoing.permit import Outgoing


class Directories:
    """Opens directories whose sign-ins share one turnstile."""

    def __init__(self, turnstile: Turnstile, outgoing: Outgoing) -> None:
        self._turnstile = turnstile
        self._outgoing = outgoing
        self._is_failing = False

    def __call__(self, settings: LdapSettings) -> QueuedDirectory:
        return QueuedDirectory(self, Directory(settings, self._outgoing))

    def verify(
        self, directory: Directory, login: str, password: str, stable_id: str | None = None
    ) -> bool:
        """See `Directory.verify`.

        Raises `DirectoryUnavailable`; without room it does so only if the directory failed the last
        time, and else `Overloaded`: a crowd must not make a password of before count.
        """
        with self._turnstile.passed() as is_inside:
            if not is_inside:
                kind = DirectoryUnavailable if self._is_failing else Overloaded
                raise kind("too many sign-ins wait for the LDAP directory: try again in a moment")
            try:
                right = directory.verify(login, password, stable_id)
            except DirectoryUnavailable:
                self._is_failing = True
                raise
            self._is_failing = False
            return right


@dataclass(frozen=True, slots=True)
class QueuedDirectory:
    """A directory that few threads ask at a time."""

    directories: Directories
    directory: Directory

    def verify(self, login: str, password: str, stable_id: str | None = None) -> bool:
        """See `Directories.verify`."""
        return self.directories.verify(self.directory, login, password, stable_id)

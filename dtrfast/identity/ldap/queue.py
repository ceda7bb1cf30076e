"""A bound on sign-ins that call a directory: a slow directory must not block other requests."""

from __future__ import annotations

from dataclasses import dataclass

from dtrfast.errors import DirectoryUnavailable, ServerBusy
from dtrfast.identity.ldap.client import LdapDirectory
from dtrfast.identity.ldap.settings import LdapSettings
from dtrfast.identity.turnstile import Turnstile
from dtrfast.outgoing.permit import OutgoingPolicy


class Directories:
    """Makes clients of directories whose sign-ins share one turnstile. Safe from many threads."""

    def __init__(self, turnstile: Turnstile, outgoing: OutgoingPolicy) -> None:
        self._turnstile = turnstile
        self._outgoing = outgoing
        self._is_failing = False

    def __call__(self, settings: LdapSettings) -> QueuedDirectory:
        return QueuedDirectory(self, LdapDirectory(settings, self._outgoing))

    def verify(
        self, directory: LdapDirectory, login: str, password: str, stable_id: str | None = None
    ) -> bool:
        """See `LdapDirectory.verify`. Raises `DirectoryUnavailable`, `ServerBusy`.

        If too many threads wait, it raises `DirectoryUnavailable` only if the last call failed, and
        else `ServerBusy`. A flood of sign-ins must not make a former password count, as it does
        while a directory is unavailable.
        """
        with self._turnstile.passed() as is_inside:
            if not is_inside:
                kind = DirectoryUnavailable if self._is_failing else ServerBusy
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
    """A directory that only a few threads call at a time."""

    directories: Directories
    directory: LdapDirectory

    def verify(self, login: str, password: str, stable_id: str | None = None) -> bool:
        """See `Directories.verify`."""
        return self.directories.verify(self.directory, login, password, stable_id)

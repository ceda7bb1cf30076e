"""Sign-ins that ask a directory, few at a time: a directory that hangs holds no other request."""

from __future__ import annotations

from dataclasses import dataclass

from dtrfast.errors import DirectoryUnavailable
from dtrfast.identity.ldap.client import Directory
from dtrfast.identity.ldap.settings import LdapSettings
from dtrfast.identity.turnstile import Turnstile
from dtrfast.outgoing.permit import Outgoing


@dataclass(frozen=True, slots=True)
class Directories:
    """Opens directories whose sign-ins share one turnstile."""

    turnstile: Turnstile
    outgoing: Outgoing

    def __call__(self, settings: LdapSettings) -> QueuedDirectory:
        return QueuedDirectory(Directory(settings, self.outgoing), self.turnstile)


@dataclass(frozen=True, slots=True)
class QueuedDirectory:
    """A directory that few threads ask at a time."""

    directory: Directory
    turnstile: Turnstile

    def verify(self, login: str, password: str) -> bool:
        """Whether it is this user's password. Raises `DirectoryUnavailable`, also if too many
        others are asking.
        """
        with self.turnstile.passed() as is_inside:
            if not is_inside:
                raise DirectoryUnavailable(
                    "too many sign-ins wait for the LDAP directory: try again in a moment"
                )
            return self.directory.verify(login, password)

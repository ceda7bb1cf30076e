"""Placeholder until the client stands."""

from __future__ import annotations

from dtrfast.errors import DirectoryUnavailable
from dtrfast.identity.ldap.settings import LdapSettings


class Directory:
    def __init__(self, settings: LdapSettings) -> None:
        self._settings = settings

    def verify(self, login: str, password: str) -> bool:
        raise DirectoryUnavailable("none yet")

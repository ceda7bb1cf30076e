"""Management of the LDAP directory: its settings, and synchronizations that administrators run."""

from __future__ import annotations

from dtrfast.errors import CredentialUnknown
from dtrfast.identity import settings, synchronization
from dtrfast.identity.events import Events
from dtrfast.identity.ldap.settings import LdapSettings, check
from dtrfast.identity.settings_documents import SettingsDocuments
from dtrfast.identity.synchronization import SyncReport
from dtrfast.identity.use_case import UseCase


class DirectoryManagement(UseCase):
    """The LDAP directory, for one caller. All methods raise `AccessRefused` for callers who are not
    system administrators.
    """

    @property
    def _documents(self) -> SettingsDocuments:
        return SettingsDocuments(self._engine, self._permits, self._now)

    def settings(self) -> LdapSettings:
        """Return the settings with the password. Raises `CredentialUnknown` without a directory."""
        found = self._documents.read(LdapSettings)
        if found is None:
            raise CredentialUnknown("no LDAP directory is set up: PUT its settings first")
        return found

    def check(self, given: LdapSettings) -> LdapSettings:
        """Return given settings, with the stored password in place of `(hidden)`. Raises
        `SettingsInvalid` if they cannot be used.
        """
        fields = {name: getattr(given, name) for name in LdapSettings.__struct_fields__}
        document = LdapSettings(**fields)
        return check(settings.revealed(document, self._documents.read(LdapSettings)))

    def remove(self) -> None:
        """Remove the directory. Raises as `settings`."""
        self.settings()
        self._documents.remove(LdapSettings)

    def preview(self, ldap: LdapSettings) -> SyncReport:
        """Return the report of a dry run with settings that `check` returned. Raises
        `AccessRefused` for callers who are not system administrators.
        """
        with self._engine.read() as transaction:
            self._permits.require_admin(transaction)
        return synchronization.preview(self._engine, ldap, self._author())

    def synchronize(
        self, events: Events, remote: str, *, dry_run: bool, allow_removals: bool
    ) -> SyncReport:
        """Synchronize, or report what would change. Raises as `settings`, `synchronization.run`."""
        ldap = self.settings()
        if dry_run:
            return synchronization.synchronize(
                self._engine, ldap, self._author(), dry_run=True, allow_removals=allow_removals
            )
        return synchronization.run(
            self._engine, ldap, events, self._author(), remote=remote, allow_removals=allow_removals
        )

    def last_report(self) -> tuple[SyncReport, int]:
        """Return the report of the last synchronization, and the time at which the next one is due.
        Raises `CredentialUnknown` if there was none, and as `settings`.
        """
        interval_seconds = int(self.settings().sync_interval_seconds)
        found = synchronization.last(self._engine)
        if found is None:
            raise CredentialUnknown("there was no synchronization yet")
        return found, found.started_at + interval_seconds

"""Lists of audit events: all of them for administrators, those of a repository for its owners."""

from __future__ import annotations

import msgspec

from dtrfast.errors import AccessRefused
from dtrfast.identity.events import EventFilter, RepositoryEvents
from dtrfast.identity.use_case import UseCase
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import repositories
from dtrfast.registry.permits import Action


class EventLists(UseCase):
    """The audit events that one caller may read, as filters of the log."""

    def of_registry(self, wanted: EventFilter) -> EventFilter:
        """Return the filter for all events. Raises `AccessRefused` for callers that are not system
        administrators.
        """
        with self._engine.read() as transaction:
            self._permits.require_admin(transaction)
        return wanted

    def of_repository(self, name: RepositoryName, wanted: EventFilter) -> EventFilter:
        """Return the filter for a repository's events, without the time of former owners.

        Only system administrators see addresses. Raises `AccessRefused` if another caller filters
        by an address, and as `Permits.check` for `Action.ADMIN`.
        """
        with self._engine.read() as transaction:
            repositories.require(transaction, self._permits, name, Action.ADMIN)
            is_admin = self._permits.standing(transaction).is_admin
            record = repositories.record(transaction, name)
            assert record is not None  # the caller may administer it
            claim = self._permits.claim(transaction, name)
        if wanted.remote and not is_admin:
            raise AccessRefused("addresses are for system administrators")
        since = max(record.created_at, claim.since)
        events = RepositoryEvents(name.text, record.id, claim.owner, since)
        return msgspec.structs.replace(wanted, hides_remote=not is_admin, of=events)

"""Lists of audit events: all events for administrators, a repository's events for its owners."""

from __future__ import annotations

from dataclasses import dataclass

from dtrfast.errors import AccessRefused
from dtrfast.identity.events import RepositoryEvents
from dtrfast.identity.use_case import UseCase
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import repositories
from dtrfast.registry.permits import Action


@dataclass(frozen=True, slots=True)
class EventScope:
    """The events that a caller may read: those of one repository, or all if `events` is None. With
    `hides_remote` it sees no addresses.
    """

    events: RepositoryEvents | None = None
    hides_remote: bool = False


class EventLists(UseCase):
    """The scopes of lists of audit events, for one caller."""

    def of_registry(self) -> EventScope:
        """Return the scope of all events. Raises `AccessRefused` for callers who are not system
        administrators.
        """
        with self._engine.read() as transaction:
            self._permits.require_admin(transaction)
        return EventScope()

    def of_repository(self, name: RepositoryName, *, by_remote: bool) -> EventScope:
        """Return the scope of a repository's events, without the time of former owners.

        Only system administrators see addresses. Raises `AccessRefused` if another caller filters
        by an address (`by_remote`), and as `Permits.check` for `Action.ADMIN`.
        """
        with self._engine.read() as transaction:
            repositories.require(transaction, self._permits, name, Action.ADMIN)
            is_admin = self._permits.standing(transaction).is_admin
            record = repositories.record(transaction, name)
            assert record is not None  # the caller may administer it
            claim = self._permits.claim(transaction, name)
        if by_remote and not is_admin:
            raise AccessRefused("addresses are for system administrators")
        since = max(record.created_at, claim.since)
        events = RepositoryEvents(name.text, record.id, claim.owner, since)
        return EventScope(events, hides_remote=not is_admin)

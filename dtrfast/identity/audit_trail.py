"""The audit events of one caller's requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dtrfast.identity.events import Detail, Event, Events, Outcome
from dtrfast.registry.ownership import NO_REPOSITORY, Ownership


@dataclass(frozen=True, slots=True)
class AuditTrail:
    """The log of audit events, for the requests of one caller.

    `now` gives seconds since the epoch. `actor` is the caller's name, `remote` its address.
    """

    events: Events
    now: Callable[[], int]
    actor: str
    remote: str

    def note(
        self,
        kind: str,
        subject: str,
        outcome: Outcome = "ok",
        detail: Detail | None = None,
        about: Ownership = NO_REPOSITORY,
        *,
        by_admin: bool = False,
    ) -> None:
        """Add an event with the present time. `about` is the repository that it concerns.
        `by_admin`: the caller was a system administrator.
        """
        event = Event(
            time=self.now(),
            kind=kind,
            actor=self.actor,
            remote=self.remote,
            outcome=outcome,
            subject=subject,
            detail=detail or {},
            repository=about.repository,
            owner=about.owner,
        )
        self.events.add(event, by_admin=by_admin)

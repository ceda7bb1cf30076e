"""Audit events of requests."""

from __future__ import annotations

from starlette.types import Scope

from dtrfast.api.types import Context
from dtrfast.api.visits import remote_of
from dtrfast.identity.events import Detail, Event, Outcome
from dtrfast.registry.ownership import Ownership


class Noting:
    """Notes what one caller does, where there are accounts that it could be of."""

    def __init__(self, context: Context, scope: Scope, actor: str) -> None:
        self._identity = context.identity
        self._scope = scope
        self._actor = actor

    def note(
        self, kind: str, outcome: Outcome, subject: str, detail: Detail, about: Ownership
    ) -> None:
        if self._identity is not None:
            event = Event(
                time=self._identity.clock(),
                kind=kind,
                actor=self._actor,
                remote=remote_of(self._scope),
                outcome=outcome,
                subject=subject,
                detail=detail,
                repository=about.repository,
                owner=about.owner,
            )
            self._identity.events.add(event, by_admin=False)  # pushes, deletes and refusals only

"""Audit events of requests."""

from __future__ import annotations

from starlette.types import Scope

from dtrfast.api.types import Context
from dtrfast.api.visits import remote_of
from dtrfast.identity.events import Detail, Event, Outcome


class Noting:
    """Notes what one caller does, where there are accounts that it could be of."""

    def __init__(self, context: Context, scope: Scope, actor: str) -> None:
        self._identity = context.identity
        self._scope = scope
        self._actor = actor

    def note(self, kind: str, outcome: Outcome, subject: str, detail: Detail) -> None:
        if self._identity is not None:
            now, remote = self._identity.clock(), remote_of(self._scope)
            event = Event(now, kind, self._actor, remote, outcome, subject, detail)
            self._identity.events.add(event)

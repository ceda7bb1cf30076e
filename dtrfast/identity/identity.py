"""Accounts and everything around them, opened once a process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dtrfast.config import Config, external_host
from dtrfast.identity.bearer import Bearers
from dtrfast.identity.events import EventReader, Events
from dtrfast.identity.gate import Gate
from dtrfast.identity.guard import AccountsGuard
from dtrfast.identity.keys import Keys
from dtrfast.identity.known_browsers import KnownBrowsers
from dtrfast.identity.ldap.client import Directory
from dtrfast.identity.oidc import Verifier
from dtrfast.identity.sign_in import Elsewhere, SignIn
from dtrfast.identity.tries import Tries
from dtrfast.index.engine import Engine
from dtrfast.registry.registry import Registry


@dataclass(frozen=True, slots=True)
class Identity:
    """What the API asks of accounts. `clock` gives seconds since the epoch."""

    engine: Engine
    guard: AccountsGuard
    sign_in: SignIn
    bearers: Bearers
    keys: Keys
    events: Events
    reader: EventReader
    clock: Callable[[], int]

    @classmethod
    def open(
        cls,
        engine: Engine,
        registry: Registry,
        config: Config,
        clock: Callable[[], int],
        tries: Tries,
        events: Events,
    ) -> Identity:
        """`registry` is the one that serves everybody."""
        keys = Keys(engine, clock)
        audience = external_host(config) or "dtrfast"
        bearers = Bearers(keys, audience, config.auth.token_seconds, clock)
        gate = Gate(engine, tries, KnownBrowsers(keys, clock), clock)
        sign_in = SignIn(
            engine, bearers, gate, Elsewhere(Directory, Verifier(clock)), events, clock
        )
        guard = AccountsGuard(registry, sign_in, bearers, clock)
        reader = EventReader(audit_path(config.store.data))
        return cls(engine, guard, sign_in, bearers, keys, events, reader, clock)


def tries_path(data: Path) -> Path:
    """Where the processes of a server count failed tries."""
    return data / "tries"


def audit_path(data: Path) -> Path:
    """Where audit events are."""
    return data / "audit"

"""Accounts and everything around them, opened once a process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dtrfast.config import Config, external_host
from dtrfast.identity.bearer import Bearers
from dtrfast.identity.events import EventReader, Events
from dtrfast.identity.gate import Gate
from dtrfast.identity.guard import AccountsGuard
from dtrfast.identity.issuer_documents import fetching
from dtrfast.identity.issuer_keys import IssuerKeys
from dtrfast.identity.keys import Keys
from dtrfast.identity.known_browsers import KnownBrowsers
from dtrfast.identity.ldap.queue import Directories
from dtrfast.identity.oidc import Issuer, Verifier
from dtrfast.identity.settings import OidcSettings
from dtrfast.identity.settings import get as get_settings
from dtrfast.identity.sign_in import Elsewhere, SignIn
from dtrfast.identity.tries import Tries
from dtrfast.identity.turnstile import Turnstile
from dtrfast.index.engine import Engine
from dtrfast.machine.paths import Layout
from dtrfast.outgoing.permit import Outgoing
from dtrfast.registry.registry import Registry

# The part of a worker's threads that may ask a directory, and that may wait for an issuer's keys.
# Twice as many may wait to ask a directory. Others' requests have the rest.
_THREADS_PER_WAIT = 8
# A directory that is well answers many sign-ins in this time.
_DIRECTORY_WAIT_SECONDS = 1.0


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
    outgoing: Outgoing
    issuer_keys: IssuerKeys

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
        outgoing = Outgoing(config.outgoing)
        few = max(1, config.server.threads_per_worker // _THREADS_PER_WAIT)
        keys_of_issuers = IssuerKeys(fetching(config, outgoing), waiting_max=few)
        directories = Directories(Turnstile(few, 2 * few, _DIRECTORY_WAIT_SECONDS), outgoing)
        elsewhere = Elsewhere(directories, Verifier(keys_of_issuers, clock))
        gate = Gate(engine, tries, KnownBrowsers(keys, clock), clock, Turnstile(2 * few, 0, 0.0))
        sign_in = SignIn(engine, bearers, gate, elsewhere, events, clock)
        guard = AccountsGuard(registry, sign_in, bearers, clock)
        reader = EventReader(Layout(config.store.data).audit)
        return cls(
            engine, guard, sign_in, bearers, keys, events, reader, clock, outgoing, keys_of_issuers
        )

    def issuers(self) -> tuple[Issuer, ...]:
        """The issuers of jobs' tokens that are set."""
        with self.engine.read() as transaction:
            found = get_settings(transaction, OidcSettings)
        return () if found is None else found.issuers

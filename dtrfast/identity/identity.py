"""The objects that identify callers and manage accounts, created once in each process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dtrfast.config import Config, external_host
from dtrfast.identity import settings
from dtrfast.identity.audit_trail import AuditTrail
from dtrfast.identity.bearer import Bearers
from dtrfast.identity.events import EventReader, Events
from dtrfast.identity.gate import Gate
from dtrfast.identity.guard import AccountsGuard
from dtrfast.identity.issuer_documents import fetching
from dtrfast.identity.issuer_keys import IssuerKeys
from dtrfast.identity.known_browsers import KnownBrowsers
from dtrfast.identity.ldap.queue import Directories
from dtrfast.identity.oidc import Issuer, Verifier
from dtrfast.identity.settings import OidcSettings
from dtrfast.identity.sign_in import ExternalVerifiers, SignIn
from dtrfast.identity.signing_keys import SigningKeys
from dtrfast.identity.tries import Tries
from dtrfast.identity.turnstile import Turnstile
from dtrfast.index.engine import Engine
from dtrfast.machine.paths import Layout
from dtrfast.outgoing.permit import OutgoingPolicy
from dtrfast.registry.registry import Registry

# Of a worker's threads, one in eight may call a directory at a time. As many may wait for an
# issuer's keys, and twice as many may wait to call a directory. The others serve other requests.
_THREADS_PER_WAIT = 8
# A healthy directory answers many sign-ins in this time.
_DIRECTORY_WAIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Identity:
    """The parts of `identity` that the API uses. `clock` gives seconds since the epoch."""

    engine: Engine
    guard: AccountsGuard
    sign_in: SignIn
    bearers: Bearers
    keys: SigningKeys
    events: Events
    reader: EventReader
    clock: Callable[[], int]
    outgoing: OutgoingPolicy
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
        """Create the parts for one process. `registry` is the one without a caller's permits."""
        keys = SigningKeys(engine, clock)
        audience = external_host(config) or "dtrfast"
        bearers = Bearers(keys, audience, config.auth.token_seconds, clock)
        outgoing = OutgoingPolicy(config.outgoing)
        few = max(1, config.server.threads_per_worker // _THREADS_PER_WAIT)
        keys_of_issuers = IssuerKeys(fetching(config, outgoing), waiting_max=few)
        directories = Directories(Turnstile(few, 2 * few, _DIRECTORY_WAIT_SECONDS), outgoing)
        elsewhere = ExternalVerifiers(directories, Verifier(keys_of_issuers, clock))
        gate = Gate(engine, tries, KnownBrowsers(keys, clock), clock, Turnstile(2 * few, 0, 0.0))
        sign_in = SignIn(engine, bearers, gate, elsewhere, events, clock)
        guard = AccountsGuard(engine, registry, sign_in, bearers, clock)
        reader = EventReader(Layout(config.store.data).audit)
        return cls(
            engine, guard, sign_in, bearers, keys, events, reader, clock, outgoing, keys_of_issuers
        )

    def audit_trail(self, actor: str, remote: str) -> AuditTrail:
        """Return the audit trail of a caller. `actor` is its name, `remote` its address."""
        return AuditTrail(self.events, self.clock, actor, remote)

    def issuers(self) -> tuple[Issuer, ...]:
        """Return the issuers of jobs' tokens in the settings."""
        with self.engine.read() as transaction:
            found = settings.get(transaction, OidcSettings)
        return () if found is None else found.issuers

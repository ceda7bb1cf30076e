"""The gate before passwords: which tries may be verified now, and how their origins are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial

from dtrfast.errors import StorageFailed, StorageFull
from dtrfast.identity import accounts, known_addresses
from dtrfast.identity.client_networks import network_of
from dtrfast.identity.known_browsers import KnownBrowsers
from dtrfast.identity.tries import Source, Tries
from dtrfast.identity.turnstile import Turnstile
from dtrfast.index.engine import Engine


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a try: an address, and the proofs of known browsers by account id."""

    remote: str
    proofs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gate:
    """Knows origins. Safe from many threads. `clock` gives seconds since the epoch.

    `directory_waits` has few places: tries that wait behind others of a directory's accounts.
    """

    engine: Engine
    tries: Tries
    browsers: KnownBrowsers
    clock: Callable[[], int]
    directory_waits: Turnstile

    def source(self, name: str, origin: Origin) -> Source:
        """The origin of a try for the account of this name, which need not exist."""
        network = network_of(origin.remote)
        with self.engine.read() as transaction:
            account = accounts.find(transaction, name)
            if account is None:
                return Source(origin.remote)
            is_known = known_addresses.is_known(transaction, account.id, network, self.clock())
        proof = origin.proofs.get(str(account.id), "")
        browser = self.browsers.read(proof, account) if proof else ""
        return Source(origin.remote, is_known=is_known, browser=browser)

    def place(self, name: str) -> AbstractContextManager[bool]:
        """A place to wait for other tries to end; False where there is none.

        A local password is verified in milliseconds. A directory may take its whole time, and each
        try that waits for it holds a thread.
        """
        with self.engine.read() as transaction:
            account = accounts.find(transaction, name)
        is_local = account is None or account.is_local
        return nullcontext(True) if is_local else self.directory_waits.passed()

    def held_seconds(self, name: str, remote: str) -> int:
        """Seconds that a password of this account is held off at a busy address. Never waits: it
        reads the index and nothing else.
        """
        seconds = self.tries.address_held_seconds(remote)
        if seconds == 0:
            return 0
        source = self.source(name, Origin(remote))
        return self.tries.held_seconds(name, source) if source.is_known else seconds

    def know(self, account_id: int, remote: str) -> None:
        """Write down that the account signed in from this address; on a full disk do without."""
        network, now = network_of(remote), self.clock()
        with self.engine.read() as transaction:
            is_due = known_addresses.is_note_due(transaction, account_id, network, now)
        if is_due:
            note = partial(known_addresses.note, account_id=account_id, network=network, now=now)
            with suppress(StorageFull, StorageFailed):
                self.engine.write(note)

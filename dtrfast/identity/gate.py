"""The checks before a password is verified: the limits on tries, and the origins of known users."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial

from dtrfast.errors import StorageFailed, StorageFull
from dtrfast.identity import accounts, known_addresses
from dtrfast.identity.client_networks import network_of
from dtrfast.identity.known_browsers import KnownBrowsers
from dtrfast.identity.tries import Tries, TryOrigin
from dtrfast.identity.turnstile import Turnstile
from dtrfast.index.engine import Engine


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a try as the client sends it: its address, and proofs of known browsers.

    `proofs` are by the account's id, as text.
    """

    remote: str
    proofs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gate:
    """Limits the tries of passwords by their origins. Safe from many threads.

    `clock` gives seconds since the epoch. `directory_waits` bounds the threads that wait for other
    tries of directory accounts.
    """

    engine: Engine
    tries: Tries
    browsers: KnownBrowsers
    clock: Callable[[], int]
    directory_waits: Turnstile

    def source(self, name: str, origin: Origin) -> TryOrigin:
        """Return the origin of a try, as the account with this name knows it. The account need not
        exist.
        """
        network = network_of(origin.remote)
        with self.engine.read() as transaction:
            account = accounts.find(transaction, name)
            if account is None:
                return TryOrigin(origin.remote)
            is_known = known_addresses.is_known(transaction, account.id, network, self.clock())
        proof = origin.proofs.get(str(account.id), "")
        browser = self.browsers.read(proof, account) if proof else ""
        return TryOrigin(origin.remote, is_known=is_known, browser=browser)

    def place(self, name: str) -> AbstractContextManager[bool]:
        """Return a context in which a thread may wait for other tries. It gives False if no place
        is free.

        Only tries of directory accounts need a place. A local password takes milliseconds. A
        directory may take its whole timeout, and each waiting try holds a thread.
        """
        with self.engine.read() as transaction:
            account = accounts.find(transaction, name)
        is_local = account is None or account.is_local
        return nullcontext(True) if is_local else self.directory_waits.passed()

    def held_seconds(self, name: str, remote: str) -> int:
        """Return the seconds until this address may try a password of the account; 0: now. Never
        waits: it reads the index and nothing else.

        An account that signed in from the address before has a limit of its own there.
        """
        seconds = self.tries.address_held_seconds(remote)
        if seconds == 0:
            return 0
        source = self.source(name, Origin(remote))
        return self.tries.held_seconds(name, source) if source.is_known else seconds

    def know(self, account_id: int, remote: str) -> None:
        """Record that the account signed in from this address. A full disk is no error."""
        network, now = network_of(remote), self.clock()
        with self.engine.read() as transaction:
            is_due = known_addresses.is_note_due(transaction, account_id, network, now)
        if is_due:
            note = partial(known_addresses.note, account_id=account_id, network=network, now=now)
            with suppress(StorageFull, StorageFailed):
                self.engine.write(note)

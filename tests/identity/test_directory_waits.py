"""Sign-ins of directory accounts while the directory hangs: they block few threads."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from dtrfast.errors import ServerBusy, SignInFailed, TooManyTries
from dtrfast.identity import accounts, settings
from dtrfast.identity.accounts import NewAccount
from dtrfast.identity.ldap.settings import LdapSettings, UserSet
from dtrfast.identity.names import AccountName
from dtrfast.index.engine import WriteTransaction
from dtrfast.registry.writing import Author
from tests.api.managed.town import Town, in_memory

_GUESSES = 60
# Of a worker's 40 threads, six may try the account's password, and ten may wait for them.
_HELD_MAX = 20


class HangingDirectory:
    """A directory that answers only after the test releases it."""

    def __init__(self) -> None:
        self.answers = threading.Event()

    def verify(self, login: str, password: str, stable_id: str | None = None) -> bool:
        self.answers.wait(30)
        return False


def _add_directory_account(town: Town) -> None:
    def add(transaction: WriteTransaction) -> None:
        author, sets = Author("system", town.clock()), (UserSet(base_dn="dc=example"),)
        settings.put(transaction, author, LdapSettings(server_urls=("ldaps://x",), user_sets=sets))
        accounts.create(transaction, author, NewAccount(AccountName("dora"), directory_id="1"))

    town.engine.write(add)


@pytest.mark.long
def test_most_tries_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = HangingDirectory()
    refused: list[type[Exception]] = []
    with in_memory() as town:
        sign_in = town.identity.sign_in
        elsewhere = replace(sign_in._elsewhere, directory=lambda _: hanging)
        monkeypatch.setattr(sign_in, "_elsewhere", elsewhere)
        _add_directory_account(town)

        def guess(number: int) -> None:
            try:
                sign_in.password("dora", f"guess {number}", "192.0.2.1")
            except (ServerBusy, SignInFailed, TooManyTries) as error:
                refused.append(type(error))

        threads = [threading.Thread(target=guess, args=(number,)) for number in range(_GUESSES)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 3
        while len(refused) < _GUESSES - _HELD_MAX and time.monotonic() < deadline:
            time.sleep(0.01)
        at_once = list(refused)
        hanging.answers.set()
        for thread in threads:
            thread.join()
    assert len(at_once) >= _GUESSES - _HELD_MAX
    assert set(at_once) == {ServerBusy}
    assert len(refused) == _GUESSES

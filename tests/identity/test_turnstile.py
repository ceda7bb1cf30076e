"""Slow work takes few threads: directories that hang, and passwords."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from dtrfast.errors import DirectoryUnavailable, DtrfastError, ServerBusy, Unavailable
from dtrfast.identity import passwords
from dtrfast.identity.ldap.queue import Directories
from dtrfast.identity.ldap.settings import LdapSettings, UserSet
from dtrfast.identity.turnstile import Turnstile
from dtrfast.outgoing.permit import DIRECT
from tests.outgoing.servers import raw_server


def test_few_are_inside_and_few_wait() -> None:
    turnstile = Turnstile(2, 3, 5.0)
    full, leaving = threading.Barrier(3), threading.Event()
    seen: Counter[bool] = Counter()

    def enter(*, is_first: bool) -> None:
        with turnstile.passed() as is_inside:
            if is_first:
                full.wait(5)
                leaving.wait(5)
            seen[is_inside] += 1

    with ThreadPoolExecutor(20) as pool:
        for _ in range(2):
            pool.submit(enter, is_first=True)
        full.wait(5)
        others = [pool.submit(enter, is_first=False) for _ in range(15)]
        while seen[False] < 12:
            time.sleep(0.001)
        assert seen[True] == 0
        leaving.set()
        for one in others:
            one.result()
    assert seen == {True: 5, False: 12}
    with turnstile.passed() as is_inside:
        assert is_inside


@pytest.mark.long
def test_a_directory_that_hangs_holds_few_sign_ins() -> None:
    turnstile = Turnstile(2, 2, 0.1)
    with raw_server(b"") as server, ThreadPoolExecutor(12) as pool:
        ldap = LdapSettings(
            server_urls=(f"ldap://127.0.0.1:{server.port}",),
            user_sets=(UserSet(base_dn="dc=x"),),
            timeout_seconds=2,
        )
        directories = Directories(turnstile, DIRECT)
        began = time.monotonic()

        def sign_in(_: int) -> tuple[float, type[DtrfastError]]:
            with pytest.raises(Unavailable) as refused:
                directories(ldap).verify("user", "password")
            return time.monotonic() - began, refused.type

        first = sorted(pool.map(sign_in, range(12)), key=lambda one: one[0])
        again = Counter(kind for _, kind in pool.map(sign_in, range(12)))
    assert first[9][0] < 1.9 < first[10][0]
    # Too many sign-ins are not an outage. A directory that has failed is one for all of them.
    assert Counter(kind for _, kind in first) == {ServerBusy: 10, DirectoryUnavailable: 2}
    assert again == {DirectoryUnavailable: 12}


@pytest.mark.long
def test_passwords_that_wait_to_be_verified_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_turnstile", Turnstile(1, 2, 5.0))
    kept = passwords.hash_password("a password")
    with ThreadPoolExecutor(12) as pool:

        def verify(_: int) -> str:
            try:
                return str(passwords.verify(kept, "a password"))
            except ServerBusy:
                return "overloaded"

        seen = Counter(pool.map(verify, range(12)))
    assert seen["True"] >= 3
    assert seen["overloaded"] > 0

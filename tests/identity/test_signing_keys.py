"""The processes of a server sign with the same key, and accept each other's tokens."""

from __future__ import annotations

import pytest
from joserfc.jwk import ECKey

from dtrfast.errors import TokenInvalid
from dtrfast.identity.bearer import Bearers
from dtrfast.identity.callers import Caller
from dtrfast.identity.signing_keys import KEEP_SECONDS, ROTATE_SECONDS, SigningKeys
from tests.fakes.clock import Clock
from tests.fakes.engine import MemoryEngine

RITA = Caller("user", "rita", "password", 1, 1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine() -> MemoryEngine:
    return MemoryEngine()


def test_a_process_accepts_a_key_that_another_one_has_just_made(
    engine: MemoryEngine, clock: Clock
) -> None:
    one, two = SigningKeys(engine, clock), SigningKeys(engine, clock)
    two.published()
    clock.advance(ROTATE_SECONDS)
    made = one.signing()
    found = two.find(made.thumbprint())
    assert found is not None
    assert found.thumbprint() == made.thumbprint()
    assert two.find("made-up") is None


def test_processes_that_start_at_once_sign_with_the_first_ones_key(
    engine: MemoryEngine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both processes find no key, and both create one."""
    one, two = SigningKeys(engine, clock), SigningKeys(engine, clock)
    load = two._load
    firsts: list[ECKey] = []

    def overtaken() -> None:
        load()
        if not firsts:
            firsts.append(one.signing())

    monkeypatch.setattr(two, "_load", overtaken)
    assert two.signing().thumbprint() == firsts[0].thumbprint()
    assert len(one.published()) == 1
    assert one.refresh().as_dict(private=True) == two.refresh().as_dict(private=True)


def test_a_key_that_nothing_is_signed_with_any_more_goes(
    engine: MemoryEngine, clock: Clock
) -> None:
    keys = SigningKeys(engine, clock)
    first = keys.signing().thumbprint()
    for _ in range(KEEP_SECONDS // ROTATE_SECONDS + 3):
        clock.advance(ROTATE_SECONDS)
        keys.signing()
    assert first not in [jwk["kid"] for jwk in keys.published()]
    assert SigningKeys(engine, clock).find(first) is None


def test_a_token_for_another_service_is_refused(engine: MemoryEngine, clock: Clock) -> None:
    """Two registries with one index have different names."""
    keys = SigningKeys(engine, clock)
    here, there = Bearers(keys, "here", 600, clock), Bearers(keys, "there", 600, clock)
    assert here.read_refresh(here.issue_refresh(RITA)).actor == "rita"
    with pytest.raises(TokenInvalid, match="the refresh token is for another service"):
        here.read_refresh(there.issue_refresh(RITA))
    with pytest.raises(TokenInvalid, match="the token is for another service"):
        here.read(there.issue(RITA, []).text)

"""Proofs that an account signed in with a browser before: a signed text that the browser keeps.

It gives no sign-in. It gives tries of its own (`tries`), so that failures of other clients do not
lock the user out. A thief gets those tries and nothing else. It ends with the password.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError

from dtrfast.identity.keys import REFRESH_ALGORITHM, Keys
from dtrfast.identity.records import Account

# Half a year: who signs in less often has a known address, or no attacker at the moment.
LIFE_SECONDS = 180 * 86_400

_AUDIENCE = "known-browser"
_SIZE_MAX = 1024


class _Claims(msgspec.Struct, frozen=True):
    aud: str
    exp: int
    uid: int
    gen: int
    jti: str


@dataclass(frozen=True, slots=True)
class KnownBrowsers:
    """Makes and reads the proofs. `clock` gives seconds since the epoch."""

    keys: Keys
    clock: Callable[[], int]

    def issue(self, account: Account, browser: str = "") -> str:
        """A proof for an account that has just signed in. `browser` is its id so far."""
        claims = {
            "aud": _AUDIENCE,
            "exp": self.clock() + LIFE_SECONDS,
            "uid": account.id,
            "gen": account.generation,
            "jti": browser or secrets.token_urlsafe(12),
        }
        header = {"typ": "JWT", "alg": REFRESH_ALGORITHM}
        return jwt.encode(header, claims, self.keys.refresh(), algorithms=[REFRESH_ALGORITHM])

    def read(self, text: str, account: Account) -> str:
        """The browser's id; empty if the text does not prove that this account used it."""
        if not text or len(text) > _SIZE_MAX or not text.isascii():
            return ""
        try:
            token = jwt.decode(text, self.keys.refresh(), algorithms=[REFRESH_ALGORITHM])
            claims = msgspec.convert(token.claims, _Claims)
        except (JoseError, ValueError, TypeError, KeyError):
            return ""
        is_current = (claims.uid, claims.gen) == (account.id, account.generation)
        is_ours = claims.aud == _AUDIENCE and claims.exp > self.clock()
        return claims.jti if is_ours and is_current else ""

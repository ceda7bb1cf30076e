"""Proofs that an account signed in with a browser before: signed texts that the browser keeps.

A proof does not replace a password. It gives the browser a count of tries of its own (`tries`), so
that failures of other clients do not lock the user out. A thief of the proof gets only these tries.
A proof ends when the account's sign-ins end, such as by a new password.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError

from dtrfast.identity.records import Account
from dtrfast.identity.signing_keys import REFRESH_ALGORITHM, SigningKeys

# Half a year. Users that sign in less often rely on a known address.
LIFE_SECONDS = 180 * 86_400

_AUDIENCE = "known-browser"
_SIZE_MAX = 1024


class _ProofClaims(msgspec.Struct, frozen=True):
    """The claims of a proof. `jti` is the browser's id, `gen` the account's generation."""

    aud: str
    exp: int
    uid: int
    gen: int
    jti: str


@dataclass(frozen=True, slots=True)
class KnownBrowsers:
    """Issues and reads the proofs. `clock` gives seconds since the epoch."""

    keys: SigningKeys
    clock: Callable[[], int]

    def issue(self, account: Account, browser: str = "") -> str:
        """Return a proof for an account that has just signed in.

        `browser` is the browser's id from an earlier proof; empty for a new id.
        """
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
        """Return the browser's id; empty if the text does not prove that this account used it."""
        if not text or len(text) > _SIZE_MAX or not text.isascii():
            return ""
        try:
            token = jwt.decode(text, self.keys.refresh(), algorithms=[REFRESH_ALGORITHM])
            claims = msgspec.convert(token.claims, _ProofClaims)
        except (JoseError, ValueError, TypeError, KeyError):
            return ""
        is_current = (claims.uid, claims.gen) == (account.id, account.generation)
        is_ours = claims.aud == _AUDIENCE and claims.exp > self.clock()
        return claims.jti if is_ours and is_current else ""

"""Who calls: a value that a credential proves, and that bounds what may be done with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from dtrfast.identity.records import Bound

CallerKind = Literal["anonymous", "user", "robot", "job", "system"]
# How the caller was recognised.
Method = Literal["none", "password", "token", "bearer", "refresh", "session", "local"]

# Refusals that do not tell a credential that was wrong from one that counts no more.
PASSWORD_WRONG = "the name or the password is wrong"
TOKEN_UNKNOWN = "the token is not known, or was revoked: make a new one"


class Job(msgspec.Struct, frozen=True):
    """A job, as its platform's token proved it.

    `issuer` and `id` are hashes: of the issuer's address and audience, and of these with the job's
    subject. `claims` are those that trusts look at, by path.
    """

    issuer: str
    id: str
    claims: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody, as proven by one credential. That it still holds is looked up at each use.

    `account_id` is the user, or a robot's organization; 0 where there is none. `bounds` is what an
    access token was asked for; None for other credentials. A stored token, `token_id`, has its own.
    `is_expired`: only good for an upload that it began. `lists` is whether it may be used to list
    repositories. `job` and `trusts` are a job's: it, and the trusts that let it in, as pairs of a
    repository's id and the trust's. `has_scopes`: the stored token has scopes, which never change.
    """

    kind: CallerKind
    actor: str
    method: Method = "none"
    account_id: int = 0
    generation: int = 0
    token_id: int = 0
    bounds: tuple[Bound, ...] | None = None
    job: Job | None = None
    trusts: tuple[tuple[int, int], ...] = ()
    expires_at: int = 0  # seconds since the epoch; 0: not by itself
    is_expired: bool = False
    lists: bool = True
    has_scopes: bool = False

    @property
    def is_bounded(self) -> bool:
        """True if the credential is for repositories only: a robot's, a job's, a personal token
        with scopes, or an access token.
        """
        return self.kind in ("robot", "job") or self.has_scopes or self.bounds is not None

    @property
    def ended(self) -> str:
        """The refusal of this credential once it does not count, as a sign-in would be refused."""
        if self.method == "password":
            return PASSWORD_WRONG
        return TOKEN_UNKNOWN if self.token_id else "the sign-in has ended: sign in again"

    @property
    def upload_owner(self) -> str:
        """Whoever goes on with an upload has to be the same."""
        if self.job is not None:
            return f"job:{self.job.id}"
        return f"{self.kind}:{self.account_id}:{self.token_id if self.kind == 'robot' else 0}"


ANONYMOUS = Caller("anonymous", "anonymous")
# Whoever can read the data directory may do everything to it already.
SYSTEM = Caller("system", "system", method="local")

"""The caller of a request: a value that a credential proves, with the bounds of the credential."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from dtrfast.identity.records import Bound

CallerKind = Literal["anonymous", "user", "robot", "job", "system"]
# The kind of credential that proved the caller.
Method = Literal["none", "password", "token", "bearer", "refresh", "session", "local"]

# One text for a wrong credential and for one that has ended: a client must not tell them apart.
PASSWORD_WRONG = "the name or the password is wrong"
TOKEN_UNKNOWN = "the token is not known, or was revoked: make a new one"


class JobIdentity(msgspec.Struct, frozen=True):
    """The identity of a CI job, as its platform's token proved it.

    `issuer` is a hash of the issuer's URL and audience, and `id` a hash of both and the job's
    subject (`oidc.identity_of`). `claims` are those that trusts compare, by path.
    """

    issuer: str
    id: str
    claims: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller, as one credential proved it. Each use checks again that the credential is valid.

    * `account_id`: the user, or a robot's organization; 0 if there is none.
    * `token_id`: the stored token, which has bounds of its own; 0 if there is none.
    * `bounds`: the requested scopes of an access token; None for other credentials.
    * `job`, `trusts`: a job's identity, and the trusts that let it in, as pairs of ids: the
      repository's and the trust's.
    * `is_expired`: the access token has expired, and may only continue an upload that it began.
    * `lists`: the credential may list repositories.
    * `has_scopes`: the stored token has scopes. They never change.
    """

    kind: CallerKind
    actor: str
    method: Method = "none"
    account_id: int = 0
    generation: int = 0
    token_id: int = 0
    bounds: tuple[Bound, ...] | None = None
    job: JobIdentity | None = None
    trusts: tuple[tuple[int, int], ...] = ()
    expires_at: int = 0  # seconds since the epoch; 0: it has no expiry
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
        """The error text for this credential after its end, equal to that of a failed sign-in."""
        if self.method == "password":
            return PASSWORD_WRONG
        return TOKEN_UNKNOWN if self.token_id else "the sign-in has ended: sign in again"

    @property
    def upload_owner(self) -> str:
        """The name of the caller as the owner of an upload. Only the owner may continue it."""
        if self.job is not None:
            return f"job:{self.job.id}"
        return f"{self.kind}:{self.account_id}:{self.token_id if self.kind == 'robot' else 0}"


ANONYMOUS = Caller("anonymous", "anonymous")
# The server itself, and the command line: a process with access to the data directory may do all.
SYSTEM = Caller("system", "system", method="local")

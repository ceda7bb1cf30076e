"""Checks of a caller in a transaction of their own, before work outside of the index."""

from __future__ import annotations

from dtrfast.errors import TokenInvalid
from dtrfast.identity.use_case import UseCase


class Checks(UseCase):
    """Checks of one caller."""

    def require_user(self) -> None:
        """Return for a signed-in user. Raises `SignInRequired`, `TokenInvalid`, and `AccessRefused`
        for a bounded credential.
        """
        with self._engine.read() as transaction:
            self._permits.confirm(transaction)
            self._permits.standing(transaction)

    def require_admin(self) -> None:
        """Return for a system administrator. Raises `AccessRefused`, and as `require_user`."""
        with self._engine.read() as transaction:
            self._permits.require_admin(transaction)

    def is_admin(self) -> bool:
        """Return True for a system administrator, but not for a bounded credential of one."""
        with self._engine.read() as transaction:
            return self._permits.is_admin(transaction)

    def was_admin(self) -> bool:
        """Return `is_admin` for the audit event of a finished change. It is False, not an error, if
        the change ended the caller's own account.
        """
        if self._permits.caller.kind not in ("user", "system"):
            return False
        try:
            return self.is_admin()
        except TokenInvalid:
            return False

"""Texts that a browser keeps for one user while the user is not signed in.

A session may end while a user fills a form. The sign-in page then carries the form's text, sealed:
only this registry can read it, and it gives it only to the account that wrote it. So other users of
the browser do not see it, and the registry stores nothing.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dtrfast.identity.signing_keys import SigningKeys

# The largest field of a form is a list of users, of 256 KiB. A form in a browser encodes each byte
# in up to three.
TEXT_SIZE_MAX = 800_000
_NONCE_SIZE = 12  # that of AES-GCM
_PURPOSE = b"dtrfast kept text 1"


@dataclass(frozen=True, slots=True)
class KeptTexts:
    """Seals and opens texts, with a key that all processes have."""

    keys: SigningKeys

    def seal(self, text: bytes, account_id: int) -> str:
        """Return a text for a browser to keep for an account; empty if it is too long."""
        if len(text) > TEXT_SIZE_MAX:
            return ""
        nonce = secrets.token_bytes(_NONCE_SIZE)
        sealed = self._cipher().encrypt(nonce, text, self._owner(account_id))
        return base64.urlsafe_b64encode(nonce + sealed).decode()

    def open(self, sealed: str, account_id: int) -> bytes | None:
        """Return the text; None if it belongs to another account, or is none of ours."""
        try:
            data = base64.urlsafe_b64decode(sealed.encode())
            nonce, rest = data[:_NONCE_SIZE], data[_NONCE_SIZE:]
            return self._cipher().decrypt(nonce, rest, self._owner(account_id))
        except (ValueError, InvalidTag):
            return None

    def _cipher(self) -> AESGCM:
        # A key of its own: the same key must not sign and encrypt.
        derived = HKDF(SHA256(), length=32, salt=None, info=_PURPOSE)
        return AESGCM(derived.derive(self.keys.refresh().raw_value))

    def _owner(self, account_id: int) -> bytes:
        return str(account_id).encode()

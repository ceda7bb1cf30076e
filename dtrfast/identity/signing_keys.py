"""The keys that sign tokens: in the index, so that all processes have the same keys.

P-256 keys sign access tokens. A new key replaces the old one each month. The public parts of all
keys that may verify a valid token are published (RFC 7517). One symmetric key signs refresh tokens,
which only this registry reads.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from functools import partial

from joserfc.jwk import ECKey, OctKey

from dtrfast.identity import records
from dtrfast.identity.records import SigningKey
from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.index.tables import SIGNING_KEYS

ALGORITHM = "ES256"
REFRESH_ALGORITHM = "HS256"
# A new key each month. An old key stays as long as a token that it signed may be used. A token
# lives for a day at most. For another day an expired token may continue its upload.
ROTATE_SECONDS = 30 * 86_400
KEEP_SECONDS = ROTATE_SECONDS + 3 * 86_400

_REFRESH = b"refresh"


class SigningKeys:
    """The keys as one process knows them. Safe from many threads.

    `clock` gives seconds since the epoch.
    """

    def __init__(self, engine: Engine, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._clock = clock
        self._lock = threading.Lock()
        self._public: dict[str, ECKey] = {}
        self._newest: ECKey | None = None
        self._newest_at = 0
        self._refresh: OctKey | None = None

    def signing(self) -> ECKey:
        """Return the key to sign with. Create one if the newest is too old."""
        with self._lock:
            if self._newest is None or self._clock() - self._newest_at >= ROTATE_SECONDS:
                self._load()
            if self._newest is None or self._clock() - self._newest_at >= ROTATE_SECONDS:
                key, now = ECKey.generate_key("P-256"), self._clock()
                data = _encode(now, key.as_dict(private=True))
                self._engine.write(partial(_add, kid=key.thumbprint(), data=data, now=now))
                self._load()
            assert self._newest is not None
            return self._newest

    def find(self, kid: str) -> ECKey | None:
        """Return the key with this id; None if this registry has none.

        Another process may have created it a moment ago.
        """
        known = self._public.get(kid)
        if known is None:
            with self._engine.read() as transaction:
                # A client may send any id, so only this one is looked up, and not all are loaded.
                is_ours = transaction.get(SIGNING_KEYS, b"k" + kid.encode()[:255]) is not None
            if not is_ours:
                return None
            with self._lock:
                self._load()
            known = self._public.get(kid)
        return known

    def refresh(self) -> OctKey:
        """Return the key of refresh tokens. Create it at first use."""
        with self._lock:
            if self._refresh is None:
                fresh = OctKey.generate_key(256)
                data = _encode(self._clock(), fresh.as_dict(private=True))
                kept = self._engine.write(partial(_keep_first, key=_REFRESH, data=data))
                self._refresh = OctKey.import_key(json.loads(kept.jwk))
            return self._refresh

    def published(self) -> list[dict[str, object]]:
        """Return the public keys as JWKs, the newest first."""
        self.signing()
        with self._engine.read() as transaction:
            rows = sorted(_rows(transaction), key=lambda row: -row[1].created_at)
        use = {"alg": ALGORITHM, "use": "sig"}
        return [{**_import(row).as_dict(private=False), "kid": kid, **use} for kid, row in rows]

    def _load(self) -> None:
        with self._engine.read() as transaction:
            rows = _rows(transaction)
        self._public = {kid: _import(row) for kid, row in rows}
        newest = max(rows, key=lambda row: row[1].created_at, default=None)
        if newest is not None:
            self._newest, self._newest_at = self._public[newest[0]], newest[1].created_at


def _rows(transaction: ReadTransaction) -> list[tuple[str, SigningKey]]:
    rows = transaction.scan(SIGNING_KEYS, b"k")
    return [(key[1:].decode(), records.signing_keys.decode(data)) for key, data in rows]


def _add(transaction: WriteTransaction, kid: str, data: bytes, now: int) -> None:
    """Add a key unless another process has just added one. Drop keys of expired tokens."""
    rows = _rows(transaction)
    if any(now - row.created_at < ROTATE_SECONDS for _, row in rows):
        return
    for old, row in rows:
        if now - row.created_at > KEEP_SECONDS + ROTATE_SECONDS:
            transaction.delete(SIGNING_KEYS, b"k" + old.encode())
    transaction.put(SIGNING_KEYS, b"k" + kid.encode(), data)


def _keep_first(transaction: WriteTransaction, key: bytes, data: bytes) -> SigningKey:
    """Store a row unless there is one; return the stored row."""
    kept = transaction.get(SIGNING_KEYS, key)
    if kept is None:
        transaction.put(SIGNING_KEYS, key, data)
        kept = data
    return records.signing_keys.decode(kept)


def _encode(now: int, jwk: object) -> bytes:
    return records.signing_keys.encode(SigningKey(1, now, json.dumps(jwk)))


def _import(row: SigningKey) -> ECKey:
    return ECKey.import_key(json.loads(row.jwk))

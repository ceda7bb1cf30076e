"""A local issuer of jobs' tokens: discovery, a JWK set, and real signatures, over HTTP."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from dtrfast.identity.oidc import Issuer

AUDIENCE = "registry.example"


class LocalIssuer:
    """An issuer that signs tokens and publishes its keys, unless a test changes that."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.requests: Counter[str] = Counter()
        self.authorization: str | None = None  # of the last request
        self.keys: list[Any] = []
        self.stalls_seconds = 0.0
        self.redirects_to = ""
        self.padding = 0
        self.is_broken = False
        self.rotate()

    def rotate(self) -> None:
        """Replace the key. Only the new key signs, and only it is published."""
        key = RSAKey.generate_key(2048, parameters={"use": "sig"})
        self.key, self.keys = key, [key]

    def issuer(self, **changes: str) -> Issuer:
        return Issuer(**{"name": "ci", "url": self.url, "audience": AUDIENCE, **changes})

    def claims(self, now: float, **changes: Any) -> dict[str, Any]:
        """Return claims of a job, as GitHub Actions issues them."""
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "repo:acme/app:ref:refs/heads/main",
            "repository": "acme/app",
            "ref": "refs/heads/main",
            "iat": int(now),
            "exp": int(now) + 600,
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, now: float, key: Any = None, algorithm: str = "RS256", **changes: Any) -> str:
        key = key or self.key
        header = {"alg": algorithm, "kid": key.thumbprint()}
        return jwt.encode(header, self.claims(now, **changes), key, algorithms=[algorithm])

    def document(self, path: str) -> bytes:
        if path == "/.well-known/openid-configuration":
            return json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys"}).encode()
        keys = [{**k.as_dict(private=False), "kid": k.thumbprint()} for k in self.keys]
        padding = "x" * self.padding
        return json.dumps({"keys": keys, "padding": padding}).encode()


@contextmanager
def running(context: ssl.SSLContext | None = None) -> Iterator[LocalIssuer]:
    """Run an issuer; with a context, over TLS."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    issuer = LocalIssuer(server.server_address[1])
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        issuer.url = issuer.url.replace("http:", "https:")
    server.issuer = issuer  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        issuer: LocalIssuer = self.server.issuer  # type: ignore[attr-defined]
        issuer.requests[self.path] += 1
        issuer.authorization = self.headers.get("authorization")
        time.sleep(issuer.stalls_seconds)
        if issuer.is_broken:
            self.send_error(500)
        elif issuer.redirects_to:
            self.send_response(302)
            self.send_header("location", issuer.redirects_to)
            self.end_headers()
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(issuer.document(self.path))

    def log_message(self, format: str, *args: object) -> None:
        return None


def other_key() -> Any:
    return ECKey.generate_key("P-256")

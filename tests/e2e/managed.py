"""A running registry with accounts.

- admin: the first administrator.
- owen: the owner of acme.
- rita, will, ada: read-only, read-write and admin on acme/app.
- nora: in no team.
- acme+ci: a robot that may pull from and push to the repositories of acme.
"""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.certificates import Certificate
from tests.e2e.registry import Registry

LEVELS = {"rita": "read-only", "will": "read-write", "ada": "admin"}
ROBOT = "acme+ci"
_PASSWORD = "correct horse battery"


@dataclass
class ManagedRegistry:
    """A registry, and the passwords and tokens of its accounts."""

    registry: Registry
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return self.registry.host

    def api(self, method: str, path: str, body: object = None, who: str = "admin") -> Any:
        """Send a request to the management API. It must succeed."""
        url = f"{self.registry.url}/api/v0/{path}"
        auth = (who, self.secrets[who])
        with httpx.Client(timeout=30, verify=self._trust()) as client:
            answer = client.request(method, url, json=body, auth=auth)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def token(self, who: str, scope: str) -> str:
        """Return an access token."""
        text = base64.b64encode(f"{who}:{self.secrets[who]}".encode()).decode()
        headers = {"authorization": f"Basic {text}"} if who else {}
        params = {"service": "dtrfast", "scope": scope}
        url = f"{self.registry.url}/auth/token"
        answer = httpx.get(url, params=params, headers=headers, verify=self._trust())
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    def _trust(self) -> ssl.SSLContext | bool:
        """Return a context that trusts the server's own certificate, if it has one; else True."""
        tls = self.registry.tls
        return ssl.create_default_context(cafile=tls.authority) if tls else True

    def people(self) -> None:
        """Make the accounts, and the organization acme with three repositories."""
        for name in ("owen", "nora", *LEVELS):
            self.secrets[name] = _PASSWORD
            self.api("POST", "accounts", {"name": name, "password": _PASSWORD})
        self.api("POST", "accounts", {"name": "acme", "type": "organization"})
        self.api("PUT", "accounts/acme/teams/owners/members/owen")
        for name, visibility in {"app": "private", "secret": "private", "open": "public"}.items():
            body = {"name": name, "visibility": visibility}
            self.api("POST", "repositories/acme", body, "owen")
        for name, level in LEVELS.items():
            self.api("POST", "accounts/acme/teams", {"name": f"{name}s"}, "owen")
            self.api("PUT", f"accounts/acme/teams/{name}s/members/{name}", who="owen")
            path = f"repositories/acme/app/teamAccess/{name}s"
            self.api("PUT", path, {"accessLevel": level}, "owen")
        scopes = [{"repository": "acme/*", "actions": ["pull", "push"]}]
        made = self.api("POST", "accounts/acme/robots", {"name": "ci", "scopes": scopes}, "owen")
        self.secrets[ROBOT] = made["token"]


@contextmanager
def running(
    folder: Path, *, tls: Certificate | None = None, **settings: str
) -> Iterator[ManagedRegistry]:
    """Run a registry with these accounts until the block ends. `settings` are variables."""
    registry = Registry(folder, tls, auth="managed", settings=settings)
    try:
        found = re.search(r"password +(\S+)", registry.log())
        assert found is not None, registry.log()
        managed = ManagedRegistry(registry, {"admin": found[1]})
        managed.people()
        yield managed
    finally:
        registry.stop()

"""A registry that runs already, here or elsewhere. Its costs are unknown."""

from __future__ import annotations

from urllib.parse import urlsplit

from benchmarks.peers.peer import REGISTRY, Ability, Peer, PeerUnavailable, Server, Start


class Url(Peer):
    """A peer that is named by its URL. Pushed content stays there."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise PeerUnavailable(f"{url}: a peer is a name or http[s]://HOST[:PORT]")
        self._tls = parts.scheme == "https"
        self._address = (parts.hostname, parts.port or (443 if self._tls else 80))
        other = Ability.PLAIN if self._tls else Ability.TLS
        super().__init__(url, REGISTRY - {other})

    def version(self) -> str:
        return "unknown"

    def start(self, start: Start) -> Server:
        return Server(self, self._address, tls=self._tls)

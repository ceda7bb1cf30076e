"""Finds the peers that are installed on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.bound import Bound
from benchmarks.peers.distribution import Distribution
from benchmarks.peers.nginx import Nginx
from benchmarks.peers.peer import Peer, PeerUnavailable, find_program
from benchmarks.peers.url import Url
from benchmarks.peers.zot import Zot

# Instructions for installing each peer. The keys are the names of all peers.
ADVICE = {
    "registry": "go install github.com/distribution/distribution/v3/cmd/registry@v3.1.1",
    "docker-registry": "apt-get install docker-registry",
    "zot": "a binary called zot, of github.com/project-zot/zot",
    "nginx": "apt-get install nginx-light",
    "c-loop": "apt-get install gcc libc6-dev libxxhash0",
}


def peers(folders: Sequence[Path]) -> dict[str, Peer]:
    """Return the peers with programs in `folders`, in PATH, or where `go install` puts them."""
    where = [*folders, *_go_folders()]
    distributions = {name: find_program(name, where) for name in ("registry", "docker-registry")}
    found: list[Peer] = [Distribution(name, path) for name, path in distributions.items() if path]
    if program := find_program("zot", where):
        found.append(Zot(program))
    if program := find_program("nginx", where):
        found.append(Nginx(program))
    if shutil.which("cc"):
        found.append(Bound())
    return {peer.name: peer for peer in found}


def choose(names: Sequence[str], found: dict[str, Peer]) -> list[Peer]:
    """Return the peers of these names and URLs; `all` stands for all of `found`.

    Raises PeerUnavailable.
    """
    chosen: dict[str, Peer] = {}
    for name in names:
        if name == "all":
            chosen |= found
        elif "://" in name:
            chosen[name] = Url(name)
        elif name in found:
            chosen[name] = found[name]
        elif name in ADVICE:
            raise PeerUnavailable(f"{name} is not on this machine: {ADVICE[name]}")
        else:
            raise PeerUnavailable(f"no peer is called {name}: {', '.join(ADVICE)}, all, or a URL")
    return list(chosen.values())


def _go_folders() -> list[Path]:
    environment = os.environ
    folders = [environment["GOBIN"]] if environment.get("GOBIN") else []
    folders += [f"{path}/bin" for path in environment.get("GOPATH", "").split(":") if path]
    return [*map(Path, folders), Path.home() / "go" / "bin"]

"""The peer zot, a registry in Go that deduplicates whole blobs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.peer import REGISTRY, Program, Start, output_of


class Zot(Program):
    """The program with the setting `commit`, which syncs blobs before it acknowledges them."""

    durability = "the blob's file"

    def __init__(self, program: Path) -> None:
        super().__init__("zot", program, REGISTRY)

    def version(self) -> str:
        return f"zot {output_of(self.program, '--version')}"

    def command(self, start: Start, port: int) -> Sequence[str]:
        http: dict[str, object] = {"address": "127.0.0.1", "port": str(port)}
        if start.certificate:
            http["tls"] = {"cert": str(start.certificate.chain), "key": str(start.certificate.key)}
        settings = {
            "distSpecVersion": "1.1.0",
            "storage": {"rootDirectory": str(start.data), "gc": False, "commit": True},
            "http": http,
            "log": {"level": "error"},
        }
        path = start.home / "config.json"
        path.write_text(json.dumps(settings))
        return [str(self.program), "serve", str(path)]

"""This checkout, run as `dtrfast serve` runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import dtrfast
from benchmarks.peers.peer import REGISTRY, Program, Start


class Dtrfast(Program):
    """The subject of all runs. Without `lanes` the fast path is off, to measure its effect."""

    durability = "the blob's file or chunks, their directory, and the index"

    def __init__(self, *, lanes: bool = True) -> None:
        super().__init__("dtrfast", Path(sys.executable), REGISTRY)
        self._lanes = lanes

    def version(self) -> str:
        return f"dtrfast {dtrfast.__version__}" + ("" if self._lanes else ", lanes off")

    def command(self, start: Start, port: int) -> Sequence[str]:
        command = [str(self.program), "-m", "dtrfast", "serve", "--data", str(start.data)]
        command += ["--bind", f"127.0.0.1:{port}", "--workers", str(start.workers)]
        command += ["--auth", "none"]  # as with the other servers
        if start.certificate:
            command += ["--tls-cert", str(start.certificate.chain)]
            command += ["--tls-key", str(start.certificate.key)]
        return command

    def environment(self) -> dict[str, str]:
        variables = {
            "DTRFAST_LOG_ACCESS": "false",
            "DTRFAST_LOG_LEVEL": "error",
            # Longer than any measurement, which holds idle connections.
            "DTRFAST_SERVER_GRACEFUL_STOP_SECONDS": "0",
        }
        return variables if self._lanes else variables | {"DTRFAST_SERVER_LANES": "false"}

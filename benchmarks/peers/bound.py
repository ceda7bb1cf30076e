"""A loop in C around the kernels of dtrfast: a lower bound of the cost of a push."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from benchmarks.load import ROOT
from benchmarks.peers.peer import Ability, PeerUnavailable, Program, Start

_SOURCES = (
    "benchmarks/bound.c",
    *(f"ext/{name}.c" for name in ("gear", "head", "chunked", "octets")),
    *(f"ext/{name}.c" for name in ("sha256", "sha256_shani", "sha256_armv8")),
)
# As setup.py compiles them.
_FLAGS = ("-O3", "-std=gnu11", "-Wall", "-Wextra", "-Iext")


class Bound(Program):
    """A server that receives uploads and stores none."""

    durability = "the blob's file"

    def __init__(self) -> None:
        program = ROOT / "build" / "benchmarks" / "bound"
        super().__init__("c-loop", program, frozenset({Ability.PLAIN, Ability.RECEIVE}))

    def version(self) -> str:
        return "benchmarks/bound.c"

    def command(self, start: Start, port: int) -> Sequence[str]:
        self._build()
        return [str(self.program), str(port), str(start.data)]

    def _build(self) -> None:
        self.program.parent.mkdir(parents=True, exist_ok=True)
        command = ["cc", *_FLAGS, *_SOURCES, "-o", str(self.program), "-ldl", "-lpthread"]
        try:
            subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.PIPE, text=True)
        except FileNotFoundError:
            raise PeerUnavailable("no C compiler: apt-get install gcc libc6-dev") from None
        except subprocess.CalledProcessError as error:
            raise PeerUnavailable(f"cc could not build the bound:\n{error.stderr}") from error

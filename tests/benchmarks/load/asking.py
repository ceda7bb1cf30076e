"""Jobs for the load client, and a function that runs them."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from benchmarks import load
from benchmarks.load import Body, Framing, Job, Push, Request, Result
from tests.benchmarks.load.server import Server

CONTENT = random.Random(3).randbytes(300_000)
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


def get(path: str = "/x", **options: object) -> Job:
    return Job((Request("GET", path, **options),))  # type: ignore[arg-type]


def ask(server: Server, *jobs: Job, **options: object) -> Result:
    arguments = {"connections": 1, "timeout_seconds": 10.0} | options
    return load.run(server.address, jobs, **arguments)  # type: ignore[arg-type]


def push(content: Path, framing: Framing = Framing.CHUNKED, **options: object) -> Job:
    body = options.pop("body", Body(content))
    return Job((Push("r", DIGEST, body, framing, **options),))  # type: ignore[arg-type]

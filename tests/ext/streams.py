"""Deterministic streams for tests of the cut points. They must never change."""

import hashlib
import json
from pathlib import Path
from typing import TypedDict

GOLDEN = Path(__file__).parents[1] / "golden" / "cut_points.json"


class GoldenRow(TypedDict):
    """Return the number of cuts, and the SHA-256 of their ends as little-endian 64-bit numbers."""

    stream: str
    min_size: int
    average_size: int
    max_size: int
    count: int
    sha256: str


def golden_rows() -> list[GoldenRow]:
    rows: list[GoldenRow] = json.loads(GOLDEN.read_text())
    return rows


def cuts_sha256(cuts: list[int]) -> str:
    return hashlib.sha256(b"".join(end.to_bytes(8, "little") for end in cuts)).hexdigest()


def random_stream(size: int, name: str = "stream") -> bytes:
    return hashlib.shake_128(name.encode()).digest(size)


def stream(name: str) -> bytes:
    """Yield the streams that golden/cut_points.json names."""
    if name == "random":
        return random_stream(4 << 20)
    if name == "text":
        words = b"the cut is where its content says so".split()
        return b" ".join(words[octet % len(words)] for octet in random_stream(200_000))
    if name == "zeros":
        return bytes(1_000_000)
    if name == "mixed":
        return random_stream(300_000) + bytes(600_000) + random_stream(300_000) + b"end"
    raise ValueError(name)

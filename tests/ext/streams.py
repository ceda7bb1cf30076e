"""Deterministic streams for the tests of the cut points, the same on every machine for ever."""

import hashlib
import json
from pathlib import Path
from typing import TypedDict

GOLDEN = Path(__file__).parents[1] / "golden" / "cut_points.json"


class GoldenRow(TypedDict):
    """All cuts of one stream: their count, and SHA-256 over them as little-endian 64-bit ends."""

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
    """The streams that golden/cut_points.json names."""
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

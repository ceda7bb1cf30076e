"""Deterministic streams for tests of the encoders zlib, GNU gzip and pigz. They must never change.

Each kind shows a mistake that an encoder could have: docs/encoders.md, zlib.
"""

import math
from collections.abc import Iterator
from pathlib import Path

from tests.ext.replay_streams import few_symbols, fibonacci, halves, mixture, text
from tests.ext.streams import random_stream

GOLDEN = Path(__file__).parents[1] / "golden" / "encoders_zlib.json"

# Sizes at which an encoder decides otherwise: short streams, the lengths of matches, the window of
# 64 KiB and its moves, the last 262 bytes, numbers of tokens, parts of 128 KiB.
SIZES = (
    *(0, 1, 2, 3, 4, 5, 6, 10, 100, 257, 258, 259, 260, 261, 262, 263, 264, 515, 516, 517),
    *(4095, 4096, 4097, 16382, 16383, 16384, 32506, 32507, 32766, 32767, 32768, 32769),
    *(65273, 65274, 65275, 65276, 65400, 65534, 65535, 65536, 65537, 65796, 65797),
    *(98041, 98042, 98043, 98200, 98301, 98304, 98305),
    *(131071, 131072, 131073, 131074, 131334, 163839),
)
PERIODS = (1, 2, 3, 4, 5, 31, 257, 258, 259, 4096, 4097, 32505, 32506, 32507, 32768)
FIRST_MOVE = 65274


def distances(distance: int, length: int, places: tuple[int, ...], size: int) -> bytes:
    """Return random bytes with copies of one length from one distance, at the places."""
    data = bytearray(random_stream(size, f"distances {distance} {length}"))
    for at in places:
        data[at : at + length] = data[at - distance : at - distance + length]
    return bytes(data)


def nearer(distance: int, place: int, size: int) -> bytes:
    """Return random bytes with a short match near the place, and a longer one at a distance."""
    data = bytearray(random_stream(size, f"nearer {distance} {place}"))
    data[place : place + 8] = data[place - distance : place - distance + 8]
    data[place - 1000 : place - 995] = data[place : place + 5]
    return bytes(data)


def collisions(size: int) -> bytes:
    """Return strings of three bytes whose first bytes agree in their five low bits only."""
    octets = random_stream(size, "collisions")
    first, rest = bytes((0x21, 0x41, 0x61, 0x81, 0xA1)), (b"bcd", b"bce", b"bdd", b"efg")
    parts = (bytes([first[octet % 5]]) + rest[octet // 5 % 4] for octet in octets[: size // 4])
    return b"".join(parts)


def unmatched(size: int) -> bytes:
    """Return bytes in which no three repeat within reach: each token is a literal."""
    return b"".join(
        bytes((0x80 | i & 0x7F, i >> 7 & 0x7F, 0x80 | i >> 14)) for i in range(size // 3 + 1)
    )[:size]


def full_block(literals: int, tail: bytes) -> bytes:
    """Return random bytes before a tail that ends at, or next to, the end of a block."""
    return random_stream(literals, "full block") + tail


def sparse(size: int, gap: int) -> bytes:
    """Return random bytes with a match of three bytes in each gap: stored is about as good."""
    data = bytearray(random_stream(size, f"sparse {gap}"))
    for at in range(3000, size - 3, gap):
        data[at : at + 3] = data[at - 1500 : at - 1497]
    return bytes(data)


def stale_end(size: int, length: int) -> bytes:
    """Return random bytes whose last string is twice before; the farther one goes on like the bytes
    that gzip compares behind the end."""
    data = bytearray(random_stream(size, f"stale end {size} {length}"))
    last = bytes(data[size - length :])
    stale = bytes(data[size + 2 - 32768 : size + 302 - 32768]) if size >= 65534 else bytes(300)
    for at, behind in ((size - 30_000, b"\0\0" + stale), (size - 20_000, b"\0\1")):
        data[at : at + length + len(behind)] = last + behind
    return bytes(data)


def few_distances(distance: int) -> bytes:
    """Return literals with matches of one distance symbol."""
    data = bytearray(random_stream(400, f"few distances {distance}"))
    for at in range(20, 380, 40):
        for i in range(at, at + 9):
            data[i] = data[i - distance]
    return bytes(data)


def deep_distances(count: int, seed: int) -> bytes:
    """Return literals and copies: the distance symbols occur as often as Fibonacci numbers, so that
    a code of 17 symbols would have more than 15 bits. It fits into a block of gzip only."""
    symbols: list[int] = []
    rare, frequent = 1, 1
    for symbol in reversed(range(3, 3 + count)):  # shorter distances repeat too soon
        symbols += [symbol] * rare
        rare, frequent = frequent, rare + frequent
    stride = len(symbols) * 618 // 1000 | 1
    while math.gcd(stride, len(symbols)) > 1:
        stride += 2
    octets = iter(random_stream(16 * len(symbols), f"deep distances {seed}"))
    data = bytearray(next(octets) for _ in range(1000))
    for i in range(len(symbols)):
        symbol = symbols[i * stride % len(symbols)]
        shift = max(symbol // 2 - 1, 0)
        distance = 4 if symbol == 3 else (2 + symbol % 2 << shift) + 1
        data += bytes(next(octets) for _ in range(distance if distance < 13 else 2))
        for nearest in range(distance, distance + (1 << shift)):
            copy = data[len(data) - nearest :][:5]
            if nearest < 13 or data.rfind(copy) == len(data) - nearest:
                data += (copy * 5)[:5]
                break
    return bytes(data)


def matches_then_literals(size: int) -> bytes:
    """Return long repeats, each with a few new bytes: gzip may end such blocks early."""
    words = text(size)
    noise = random_stream(size // 8, "matches then literals")
    return b"".join(
        words[at : at + 97] + words[at // 3 : at // 3 + 60] + noise[at // 9 : at // 9 + 25]
        for at in range(0, size * 8 // 15, 97)
    )


def short_streams() -> Iterator[tuple[str, bytes]]:
    kinds = {
        "text": text(SIZES[-1]),
        "random": random_stream(SIZES[-1]),
    }
    for kind, data in kinds.items():
        for size in SIZES:
            yield f"{kind}-{size}", data[:size]
    for size in SIZES[SIZES.index(32506) :]:
        noise = random_stream(size)
        yield f"unmatched-{size}", unmatched(size)
        yield f"text-end-{size}", noise[:-300] + text(300)
    for period in PERIODS:
        once = random_stream(period, f"period {period}")
        yield f"period-{period}", (once * (99_000 // period + 1))[:99_000]
    for count in (2, 3, 4, 8, 32, 64, 128, 200):
        yield f"few-{count}", few_symbols(70_000, count)
        yield f"few-{count}-short", few_symbols(40 + count, count)
    for count in (15, 16, 17, 18, 19, 20, 24):
        yield f"fibonacci-{count}", fibonacci(count)


def distance_streams() -> Iterator[tuple[str, bytes]]:
    places = (32_600, 40_000, FIRST_MOVE, 98_042, 120_000, 131_050)
    for distance in (32505, 32506, 32507, 4095, 4096, 4097):
        for length in (3, 9):
            data = distances(distance, length, places, 140_000)
            yield f"distance-{distance}-{length}", data
        yield f"distance-{distance}-end", distances(distance, 3, (50_000, 99_997), 100_000)
    for size in (FIRST_MOVE + 20, FIRST_MOVE + 261, FIRST_MOVE + 262, FIRST_MOVE + 263):
        data = distances(32506, 12, (FIRST_MOVE,), size)
        yield f"first-move-{size}", data
        yield f"second-move-{size}", random_stream(32768, "before") + data
    for distance in (32505, 32506):
        yield f"nearer-{distance}", nearer(distance, 50_000, 60_000)
    # Few seeds have no chance match of a rare distance, which would make the code less deep.
    for seed in (14, 29, 52):
        yield f"deep-distances-{seed}", deep_distances(17, seed)
    for distance in (1, 2, 3, 4, 5, 9, 15):
        yield f"few-distances-{distance}", few_distances(distance)


def end_streams() -> Iterator[tuple[str, bytes]]:
    for literals in (16381, 16382, 16383, 16384, 32765, 32766, 32767, 32768, 65533, 65534):
        yield f"full-{literals}", full_block(literals, b"")
        tail = random_stream(10, "full block")
        yield f"full-{literals}-match", full_block(literals, tail[3:8])
    for gap in (40, 60, 80, 100, 140, 200, 400, 1000):
        yield f"sparse-{gap}", sparse(100_000, gap)
    for size in (40_000, 65_400, 65_534, 65_540, 70_000, 98_100, 100_000, 131_072, 150_000):
        for length in (3, 20, 130):
            yield f"stale-end-{size}-{length}", stale_end(size, length)
    for end in range(131_072, 131_080):
        data = text(131_072)[: 262_144 - end] + random_stream(end - 131_072) + text(9000)
        yield f"part-end-{end}", data


def streams() -> Iterator[tuple[str, bytes]]:
    """Yield names and streams. The names stand in tests/golden/encoders_zlib.json."""
    yield from short_streams()
    yield from distance_streams()
    yield from end_streams()
    yield "zeros", bytes(4_500_000)
    yield "collisions", collisions(300_000)
    yield "matches-then-literals", matches_then_literals(400_000)
    yield "halves", halves(400_000)
    yield "mixture", mixture(800_000)
    yield "text", text(500_000)

"""Deterministic streams for tests of the klauspost encoders. They must never change.

A name is a content and a length: `text-65535` has the first 65535 bytes of `text`.
"""

import functools
import itertools
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.ext.streams import random_stream

GOLDEN = Path(__file__).parents[1] / "golden" / "encoders_klauspost.json"

MIB = 1 << 20
LONGEST = 3 * MIB + 5
MEDIUM = 200_003

# Around the limits of short chunks, of the fixed block, and of the test for random bytes.
SHORT = [0, 1, 12, 13, 14, 32, 33, 127, 128, 129, 250, 600, 1024, 1025, 2000]
# The last chunk is full, or has 1, 12, 13, 32, 33, 127 or 128 bytes.
CHUNKS = [65534, 65535, 65536, 65547, 65548, 65567, 65568, 65662, 65663, 131070]
PARTS = [MIB - 1, MIB, MIB + 1, MIB + 12, MIB + 13, MIB + 40, MIB + 200, 2 * MIB]
# Pieces of long matches, limits of the distance, and a period above it.
RUNS = [258, 259, 260, 261, 262, 263, 519, 520]
PERIODS = [1, 2, 3, 4, 32766, 32767, 32768, 32769]


def _text(size: int) -> bytes:
    letters = random_stream(20_000, "letters")
    words = [
        bytes(97 + letter % 26 for letter in letters[start : start + 2 + letters[start] % 9])
        for start in range(0, 10_000, 13)
    ]
    picks = random_stream(size, "picks")
    # The product makes low numbers, and so some words, frequent.
    text = b" ".join(
        words[high * low % len(words)] for high, low in zip(picks[::2], picks[1::2], strict=False)
    )
    return text[:size]


def _noise(size: int, symbols: bytes = b"ab") -> bytes:
    table = bytes(symbols[octet % len(symbols)] for octet in range(256))
    return random_stream(size, "noise").translate(table)


def _csv(size: int) -> bytes:
    numbers = random_stream(size // 8, "csv")
    lines = (
        b"%d,%d,%s\n" % (i, high * low, b"north" if low < 99 else b"south")
        for i, (high, low) in enumerate(zip(numbers[::2], numbers[1::2], strict=False))
    )
    return b"".join(lines)[:size]


def _records(size: int) -> bytes:
    octets = random_stream(size // 6 + 2, "records")
    return b"".join(
        struct.pack("<IHBBQ", 0x400000 + 24 * i, octet * octet, octet & 7, octets[i + 1], i // 9)
        for i, octet in enumerate(octets[: size // 16 + 1])
    )[:size]


def _repeats(size: int) -> bytes:
    """Return random bytes with rare repeats of 4 and more bytes."""
    data = bytearray(random_stream(size, "repeats"))
    steps = random_stream(size // 20, "steps")
    at = 100
    for low, high in zip(steps[::2], steps[1::2], strict=False):
        length = 4 + high % 5
        source = at - 1 - (low * high) % at
        data[at : at + length] = data[source : source + length]
        at += 20 + low + 2 * high
        if at + 20 > size:
            break
    return bytes(data[:size])


def _fibonacci(size: int) -> bytes:
    """Return bytes whose frequencies make Huffman codes too long."""
    counts = [1, 1]
    while sum(counts) < 65_000:
        counts.append(counts[-1] + counts[-2])
    symbols = b"".join(bytes([64 + i]) * count for i, count in enumerate(counts))
    order = random_stream(3 * size, "fibonacci")
    picks = (order[i] << 16 | order[i + 1] << 8 | order[i + 2] for i in range(0, 3 * size, 3))
    return bytes(symbols[pick % len(symbols)] for pick in picks)


def _mixed(size: int) -> bytes:
    """Return pieces of all kinds in turn, so that chunks of different kinds follow each other."""
    few = _noise(70_000, b"abcdefgh")
    kinds: Iterator[tuple[Callable[[int], bytes], int]] = itertools.cycle(
        [
            (_text, 150_000),
            (functools.partial(random_stream, name="between"), 131_072),
            (_text, 40_000),
            (lambda length: few[:length], 70_000),
            (_records, 200_000),
            (bytes, 100_000),
            (_text, 66_000),
            (_csv, 90_000),
            (functools.partial(random_stream, name="short"), 9_000),
            (_repeats, 80_000),
            (_fibonacci, 20_000),
        ]
    )
    pieces: list[bytes] = []
    done = 0
    while done < size:
        make, length = next(kinds)
        pieces.append(make(length))
        done += len(pieces[-1])
    return b"".join(pieces)[:size]


def _return(size: int) -> bytes:
    """Return bytes whose first ones come back: matches reach the start of the history."""
    start = random_stream(60, "start")
    pieces = [start]
    for cut in range(1, 50):
        pieces += [random_stream(cut, f"gap {cut}"), start[:cut], start[cut // 2 : cut + 9]]
    again = b"".join(pieces)
    return (again * (size // len(again) + 1))[:size]


def _near(size: int) -> bytes:
    """Return words of steady frequencies: the old code of a chunk and a new one cost the same.

    Of 400 numbers, 59 was the first where klauspost 1.18.1 and 1.18.2 choose differently.
    """
    picks = random_stream(120_000, "near 59")
    words = [random_stream(3 + i % 7, f"word {i}") for i in range(64)]
    pairs = zip(picks[::2], picks[1::2], strict=True)
    return b"".join(words[high * low >> 10] for high, low in pairs)[:size]


CONTENTS: dict[str, Callable[[int], bytes]] = {
    "text": _text,
    "zeros": bytes,
    "random": functools.partial(random_stream, name="random"),
    "noise": _noise,
    "csv": _csv,
    "records": _records,
    "repeats": _repeats,
    "fibonacci": _fibonacci,
    "mixed": _mixed,
    "return": _return,
    "near": _near,
    "each": lambda size: (bytes(range(256)) * (size // 256 + 1))[:size],
}


# The lengths to which contents are made, if not MEDIUM.
SIZES = {
    "mixed": LONGEST,
    "records": LONGEST,
    "zeros": LONGEST,
    "repeats": 2 * MIB,
    "random": MIB + 1,
}


@functools.cache
def _content(name: str) -> bytes:
    return CONTENTS[name](SIZES.get(name, MEDIUM))


def stream(name: str) -> bytes:
    """Return the stream that golden/encoders_klauspost.json names."""
    content, length = name.split("-")
    size = int(length)
    if content.startswith("period"):
        period = random_stream(int(content.removeprefix("period")), content)
        return (period * (size // len(period) + 1))[:size]
    return _content(content)[:size]


def names() -> Iterator[str]:
    for content in ("text", "zeros", "random", "noise"):
        for size in [*SHORT, *CHUNKS]:
            yield f"{content}-{size}"
    for size in RUNS:
        yield f"zeros-{size}"
    for period in PERIODS:
        yield f"period{period}-{140_000}"
    for content in ("csv", "records", "repeats", "fibonacci", "return", "each", "mixed"):
        for size in (700, 5_000, MEDIUM):
            yield f"{content}-{size}"
    for size in PARTS:
        yield f"mixed-{size}"
    for content in ("records", "mixed", "zeros"):
        yield f"{content}-{LONGEST}"
    yield f"random-{MIB + 1}"
    yield "near-339653"
    yield f"repeats-{2 * MIB}"

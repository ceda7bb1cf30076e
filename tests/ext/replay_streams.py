"""Deterministic streams for tests of the deflate encoders. They must never change.

Each kind shows a mistake that an encoder could have: docs/encoders.md, section 6.
"""

import struct
from collections.abc import Iterator
from functools import cache

from tests.ext.streams import random_stream

# Sizes at which an encoder decides otherwise: short streams and chunks, the lengths of matches,
# the window of 64 KiB and its slides, chunks of 65535 bytes.
SIZES = (
    *(0, 1, 2, 3, 4, 5, 7, 15, 16, 17, 18, 127, 128, 129, 143, 144, 258, 259, 262, 263, 300),
    *(32767, 32768, 32769, 65274, 65275, 65276, 65534, 65535, 65536, 65537, 65551, 65552),
    *(65662, 65663, 65798, 98041, 98042, 98043, 98304, 98305, 131069, 131070, 131071, 131073),
    *(163577, 196605, 196606),
)
PERIODS = (1, 2, 3, 4, 5, 7, 8, 9, 255, 256, 257, 258, 259, 4096, 4097, 32767, 32768, 32769)

WORDS = (
    b"layer block token match literal distance window chunk stream the of and to in is a that "
    b"return import def class self None True False for if not with from as <div> </div> { } ( ) "
    b"0x00 0xff 1024 32768 65535 sha256 application/vnd.oci.image.layer.v1.tar+gzip\n"
).split(b" ")


@cache
def text(size: int) -> bytes:
    """Return words, of which some are far more frequent than others, and some words are new."""
    octets = random_stream(2 * size // 3, "text")
    words: list[bytes] = []
    length = 0
    at = 0
    while length < size:
        choice, chance = octets[at], octets[at + 1]
        word = WORDS[choice * chance * len(WORDS) // 65536]
        if chance > 240:
            word = octets[at : at + 3].hex().encode()
        words.append(word)
        length += len(word) + 1
        at += 2
    return b" ".join(words)[:size]


@cache
def records(size: int) -> bytes:
    """Return rows of numbers that grow, as symbol tables and code have them."""
    octets = random_stream(size // 8 + 16, "records")
    rows: list[bytes] = []
    address = 0x400000
    for at in range(0, size // 8, 2):
        address += octets[at] & 0x3F
        row = struct.pack("<IHBBQ", at, octets[at] & 3, octets[at + 1], 0, address)
        rows.append(row[: 8 + (octets[at + 1] & 7)] if octets[at + 1] > 127 else row)
    return b"".join(rows).ljust(size, b"\x90")[:size]


def few_symbols(size: int, count: int) -> bytes:
    """Return random bytes of an alphabet in which each symbol is rarer than the one before."""
    order = bytes(octet * octet * count // 65025 % count for octet in range(256))
    return random_stream(size, f"few {count}").translate(order)


def fibonacci(count: int) -> bytes:
    """Return `count` symbols whose frequencies are Fibonacci numbers: the deepest Huffman tree."""
    ordered = bytearray()
    rare, frequent = 1, 1
    for symbol in range(count):
        ordered += bytes([symbol]) * rare
        rare, frequent = frequent, rare + frequent
    # A stride without a common factor spreads the symbols, so that literals remain.
    stride = len(ordered) * 618 // 1000 | 1
    while len(ordered) % stride == 0:
        stride += 2
    return bytes(ordered[index * stride % len(ordered)] for index in range(len(ordered)))


def copies(length: int, distance: int) -> bytes:
    """Return random bytes in which copies of one length begin at one distance."""
    data = bytearray(random_stream(200_000, f"copies {length} {distance}"))
    for at in range(distance, len(data) - length, 997 + length):
        data[at : at + length] = data[at - distance : at - distance + length]
    return bytes(data)


def slide_copy(size: int, at: int) -> bytes:
    """Return letters with a copy at a distance that exists only as long as the window stays."""
    letters = bytes(65 + octet % 31 for octet in range(256))
    data = bytearray(random_stream(size, "slide").translate(letters))
    data[at : at + 20] = data[at - 32674 : at - 32654]
    return bytes(data)


def mixture(size: int) -> bytes:
    """Return text, records, zeros, and incompressible stretches of many lengths."""
    sources = (text(1 << 19), records(1 << 19), random_stream(1 << 19), bytes(1 << 19))
    choices = random_stream(1 << 16, "mixture")
    parts: list[bytes] = []
    length = 0
    at = 0
    while length < size:
        source = sources[choices[at] & 3]
        start = int.from_bytes(choices[at + 1 : at + 4], "little") % (1 << 18)
        part = source[start : start + (1 << choices[at + 4] % 18) + choices[at + 5]]
        parts.append(part)
        length += len(part)
        at += 6
    return b"".join(parts)[:size]


def halves(size: int) -> bytes:
    """Return 20 KB of random bytes and of text by turns: block starts on both sides of slides."""
    noise, words = random_stream(size, "halves"), text(size)
    return b"".join(
        (noise, words)[at // 20_000 % 2][at : at + 20_000] for at in range(0, size, 20_000)
    )


def streams() -> Iterator[tuple[str, bytes]]:
    """Yield names and streams. The names stand in tests/golden/encoders_*.json."""
    kinds = {
        "text": text(SIZES[-1]),
        "records": records(SIZES[-1]),
        "random": random_stream(SIZES[-1]),
        "symbols-16": few_symbols(SIZES[-1], 16),
    }
    for kind, data in kinds.items():
        for size in SIZES:
            yield f"{kind}-{size}", data[:size]
    for period in PERIODS:
        once = random_stream(period, f"period {period}")
        yield f"period-{period}", (once * (150_000 // period + 1))[:150_000]
    for count in (2, 3, 4, 8, 32, 64, 128, 200):
        yield f"few-{count}", few_symbols(200_000, count)
        yield f"few-{count}-short", few_symbols(40 + count, count)
    for count in (15, 16, 17, 20, 24, 26):
        yield f"fibonacci-{count}", fibonacci(count)
    for length, distance in (
        *((4, 4096), (4, 4097), (5, 4097), (15, 900), (16, 900), (17, 900)),
        *((127, 1200), (128, 1200), (129, 1200), (258, 1200), (259, 1200)),
        *((40, 32506), (40, 32767), (40, 32768), (40, 32769)),
    ):
        yield f"copies-{length}-{distance}", copies(length, distance)
    for size, at in ((65536, 65400), (65537, 65400), (120_000, 65274), (120_000, 65275)):
        yield f"slide-{size}-{at}", slide_copy(size, at)
    yield "equal", bytes(range(256)) * 3 + random_stream(70_000).translate(bytes(range(256)))
    yield "halves", halves(700_000)
    yield "mixture", mixture(1_500_000)
    yield "text", text(1_500_000)
    yield "records", records(1_000_000)
    yield "zeros", bytes(9_000_000)
    yield "mixture-6m", mixture(6 << 20)

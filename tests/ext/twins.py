"""Plain Python twins of the kernels, written from the standards and docs/kernels.md alone.

They are slow and use other algorithms on purpose: digests from the formulas, cut points from the
sum that defines the hash, framing from regular expressions over whole lines.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

GEAR = tuple(
    int.from_bytes(hashlib.sha256(b"dtrfast gear table 1" + bytes([octet])).digest()[:8], "big")
    for octet in range(256)
)


def _primes() -> Iterator[int]:
    found: list[int] = []
    candidate = 2
    while True:
        if all(candidate % prime for prime in found):
            found.append(candidate)
            yield candidate
        candidate += 1


def _root_fraction(number: int, degree: int, bits: int) -> int:
    """Return the first bits of the fraction of a root, as FIPS 180-4 derives its constants."""
    scaled = number << (degree * bits)
    low, high = 0, 1 << (scaled.bit_length() // degree + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**degree <= scaled else (low, middle - 1)
    return low & ((1 << bits) - 1)


@dataclass(frozen=True, slots=True)
class Sha2:
    """A member of the SHA-2 family. The rotations are in the order of FIPS 180-4 section 4.1."""

    bits: int
    round_count: int
    sum0: tuple[int, int, int]
    sum1: tuple[int, int, int]
    sigma0: tuple[int, int, int]
    sigma1: tuple[int, int, int]

    def _rotate(self, word: int, count: int) -> int:
        mask = (1 << self.bits) - 1
        return (word >> count | word << (self.bits - count)) & mask

    def _sum(self, word: int, counts: tuple[int, int, int]) -> int:
        a, b, c = (self._rotate(word, count) for count in counts)
        return a ^ b ^ c

    def _sigma(self, word: int, counts: tuple[int, int, int]) -> int:
        return self._rotate(word, counts[0]) ^ self._rotate(word, counts[1]) ^ word >> counts[2]

    def digest(self, data: bytes) -> bytes:
        block_size, mask = self.bits * 2, (1 << self.bits) - 1
        primes = _primes()
        numbers = [next(primes) for _ in range(self.round_count)]
        constants = [_root_fraction(number, 3, self.bits) for number in numbers]
        words = [_root_fraction(number, 2, self.bits) for number in numbers[:8]]
        zeros = -(len(data) + 1 + self.bits // 4) % block_size
        padded = data + b"\x80" + bytes(zeros) + (8 * len(data)).to_bytes(self.bits // 4, "big")
        for start in range(0, len(padded), block_size):
            schedule = [
                int.from_bytes(padded[i : i + self.bits // 8], "big")
                for i in range(start, start + block_size, self.bits // 8)
            ]
            for i in range(16, self.round_count):
                extended = self._sigma(schedule[i - 2], self.sigma1) + schedule[i - 7]
                extended += self._sigma(schedule[i - 15], self.sigma0) + schedule[i - 16]
                schedule.append(extended & mask)
            a, b, c, d, e, f, g, h = words
            for constant, word in zip(constants, schedule, strict=True):
                t1 = h + self._sum(e, self.sum1) + (e & f ^ ~e & g) + constant + word
                t2 = self._sum(a, self.sum0) + (a & b ^ a & c ^ b & c)
                a, b, c, d, e, f, g, h = (t1 + t2) & mask, a, b, c, (d + t1) & mask, e, f, g
            after = (a, b, c, d, e, f, g, h)
            words = [(old + new) & mask for old, new in zip(words, after, strict=True)]
        return b"".join(word.to_bytes(self.bits // 8, "big") for word in words)


SHA256 = Sha2(32, 64, (2, 13, 22), (6, 11, 25), (7, 18, 3), (17, 19, 10))
SHA512 = Sha2(64, 80, (28, 34, 39), (14, 18, 41), (1, 8, 7), (19, 61, 6))


def gear_hash(data: bytes, end: int) -> int:
    return sum(GEAR[data[end - 1 - i]] << i for i in range(64)) % (1 << 64)


def cut(data: bytes, min_size: int, average_size: int, max_size: int) -> list[int]:
    """Return all cut points of a whole stream, including its end."""
    bits = average_size.bit_length() - 1
    cuts: list[int] = []
    start = 0
    while start < len(data):
        end = min(start + max_size, len(data))
        for size in range(min_size, end - start):
            zero_bits = bits + 2 if size < average_size else bits - 2
            if gear_hash(data, start + size) >> (64 - zero_bits) == 0:
                end = start + size
                break
        cuts.append(end)
        start = end
    return cuts


def equal(a: bytes, b: bytes) -> bool:
    return len(a) == len(b) and all(x == y for x, y in zip(a, b, strict=True))


_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*"
_PATH = rb"/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*"
_QUERY = rb"(?:\?(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]{}|\\^`]|%[0-9A-Fa-f]{2})*)?"
_REG_NAME = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+"
_AUTHORITY = rb"(?:\[[0-9A-Fa-f:.]+\]|" + _REG_NAME + rb")(?::[0-9]*)?"
_HOST = re.compile(_AUTHORITY)
_ABSOLUTE = rb"[Hh][Tt][Tt][Pp][Ss]?://" + _AUTHORITY + rb"(?:" + _PATH + rb")?" + _QUERY
_REQUEST_LINE = re.compile(
    rb"(?:(OPTIONS) (\*)|(?!CONNECT )("
    + _TOKEN
    + rb") ("
    + _PATH
    + _QUERY
    + rb"|"
    + _ABSOLUTE
    + rb")) HTTP/1\.([01])\r\n"
)
_FIELD_LINE = re.compile(rb"(" + _TOKEN + rb"):(" + _VALUE + rb")\r\n")
# With one of these endings, each prefix of a valid line becomes a complete line.
_REQUEST_ENDINGS = (
    b"A / HTTP/1.1\r\n",
    b"00 HTTP/1.1\r\n",
    b"0 HTTP/1.1\r\n",
    b"http://0 HTTP/1.1\r\n",
    b"HTTP://0 HTTP/1.1\r\n",
    b"://0 HTTP/1.1\r\n",
    b"0] HTTP/1.1\r\n",
    b"] HTTP/1.1\r\n",
    b"\r\n\n",
)
_FIELD_ENDINGS = (b"a:\r\n",)

FIELD_COUNT_MAX = 128


class Malformed(Exception):
    """A ValueError of the kernel."""


class TooLarge(Exception):
    """An OverflowError of the kernel."""


@dataclass(frozen=True, slots=True)
class Head:
    method: str
    target: bytes
    version: str
    headers: list[tuple[bytes, bytes]]
    size: int
    content_length: int | None
    chunked: bool
    keep_alive: bool
    expect_continue: bool
    forwarded: bool


def _require(condition: object) -> None:
    if not condition:
        raise Malformed


def _can_become_line(line: re.Pattern[bytes], start: bytes, endings: tuple[bytes, ...]) -> bool:
    return any(line.fullmatch(start + ending[i:]) for ending in endings for i in range(len(ending)))


def _take_line(
    line: re.Pattern[bytes], data: bytes, endings: tuple[bytes, ...]
) -> re.Match[bytes] | None:
    """Return the line at the start of the data, None if it is incomplete."""
    if b"\r\n" not in data:
        _require(not data or _can_become_line(line, data, endings))
        return None
    match = line.fullmatch(data[: data.index(b"\r\n") + 2])
    _require(match)
    return match


def _values(headers: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for key, value in headers if key == name]


def _check_framing(headers: list[tuple[bytes, bytes]], version: bytes) -> None:
    """Raise the error of the twin if the framing fields seen so far are invalid."""
    lengths, codings = _values(headers, b"content-length"), _values(headers, b"transfer-encoding")
    hosts, expects = _values(headers, b"host"), _values(headers, b"expect")
    _require(len(lengths) + len(codings) <= 1)
    _require(len(hosts) <= 1 and len(expects) <= 1)
    _require(all(re.fullmatch(rb"0|[1-9][0-9]*", value) for value in lengths))
    _require(all(int(value) < 1 << 63 for value in lengths))
    _require(all(value.lower() == b"chunked" for value in codings))
    _require(version == b"1" or not codings)
    _require(all(_HOST.fullmatch(value) for value in hosts))
    _require(all(value.lower() == b"100-continue" for value in expects))


def _parse_fields(
    data: bytes, position: int, version: bytes
) -> tuple[list[tuple[bytes, bytes]], int] | None:
    headers: list[tuple[bytes, bytes]] = []
    while not data.startswith(b"\r\n", position):
        if data[position:] == b"\r":
            return None
        if len(headers) == FIELD_COUNT_MAX and position < len(data) and data[position] != 13:
            raise TooLarge
        match = _take_line(_FIELD_LINE, data[position:], _FIELD_ENDINGS)
        if match is None:
            return None
        headers.append((match[1].lower(), match[2].strip(b" \t")))
        _check_framing(headers, version)
        position += len(match[0])
    return headers, position + 2


def parse_head(data: bytes, size_max: int = 131072) -> Head | None:
    head = _parse_bounded(data[:size_max])
    if head is None and len(data) >= size_max:
        raise TooLarge
    return head


def _parse_bounded(data: bytes) -> Head | None:
    position = 2 if data.startswith(b"\r\n") else 0
    if data == b"\r":
        return None
    line = _take_line(_REQUEST_LINE, data[position:], _REQUEST_ENDINGS)
    if line is None:
        return None
    version = line[5]
    fields = _parse_fields(data, position + len(line[0]), version)
    if fields is None:
        return None
    headers, size = fields
    _require(version == b"0" or _values(headers, b"host"))
    lengths = _values(headers, b"content-length")
    options = {
        option.strip(b" \t").lower()
        for value in _values(headers, b"connection")
        for option in value.split(b",")
    }
    return Head(
        method=(line[1] or line[3]).decode(),
        target=line[2] or line[4],
        version="1." + version.decode(),
        headers=headers,
        size=size,
        content_length=int(lengths[0]) if lengths else None,
        chunked=bool(_values(headers, b"transfer-encoding")),
        keep_alive=b"close" not in options and (version == b"1" or b"keep-alive" in options),
        expect_continue=version == b"1" and bool(_values(headers, b"expect")),
        forwarded=any(
            name == b"forwarded" or name.startswith(b"x-forwarded-") for name, _ in headers
        ),
    )


_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")
_DATA_END = re.compile(rb"\r\n")
TRAILER_SIZE_MAX = 8192


@dataclass(frozen=True, slots=True)
class Body:
    decoded: bytes
    consumed: int
    finished: bool


def decode_chunked(data: bytes) -> Body:
    """Decode the body at the start of `data`, as far as possible."""
    decoded = bytearray()
    position = 0
    while True:
        digits = re.match(rb"[0-9A-Fa-f]*", data[position:])
        _require(digits is None or int(digits[0] or b"0", 16) < 1 << 63)
        line = _take_line(_SIZE_LINE, data[position:], (b"0\r\n",))
        if line is None:
            return Body(bytes(decoded), len(data), False)
        position += len(line[0])
        size = int(line[1], 16)
        if size == 0:
            break
        decoded += data[position : position + size]
        position += size
        if _take_line(_DATA_END, data[position:][:2], (b"\r\n",)) is None:
            return Body(bytes(decoded), len(data), False)
        position += 2
    end = _skip_trailer(data, position)
    return Body(bytes(decoded), len(data) if end is None else end, end is not None)


def _skip_trailer(data: bytes, start: int) -> int | None:
    position = start
    while not data.startswith(b"\r\n", position):
        if data[position:] == b"\r":
            return None
        line = _take_line(_FIELD_LINE, data[position:], _FIELD_ENDINGS)
        end = len(data) if line is None else position + len(line[0])
        _require(end - start <= TRAILER_SIZE_MAX)
        if line is None:
            return None
        position = end
    return position + 2

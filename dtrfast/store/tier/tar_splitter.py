"""Cuts the plain bytes of a layer into chunks that other versions of the layer share.

A tar has a header before each file, with the time of the build. Cut points that ignore the tar put
new headers into every chunk of small files. So headers go into chunks of their own. A large file is
cut by itself, at points that its content defines. Small files go into groups, in the order of the
tar. The content of a file decides whether a group ends behind it, so a new file changes one group
only. Bytes that are no tar are cut as an upload is.

A recipe names the chunks and their places. So another version of this module may cut differently:
it only finds fewer duplicates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import xxhash

from dtrfast import _core
from dtrfast.store.recipe_rows import Slice

BLOCK_SIZE = 512
# A file of half the average chunk or more is cut by itself.
LARGE_SIZE_MIN = 32 * 1024
# A group may end once it has the minimum, and ends before it has more than a chunk may have. In
# between it ends behind a file with a probability that grows with the file: every 48 KiB or so.
_GROUP_SIZE_MIN = 16 * 1024
_GROUP_SIZE_MAX = 256 * 1024
_GROUP_SPACING = 48 * 1024
# A longer extension than this is not kept together with its header.
_EXTENSION_SIZE_MAX = 1 << 20

_DIGITS_MAX = 20  # of a size in an extension

# Types of entries in POSIX ustar and GNU tar.
_FILES = frozenset(b"0\x007")
_WITHOUT_CONTENT = frozenset(b"123456")
_EXTENSIONS = frozenset(b"xgLK")  # records about the next entry: long names, times, attributes
_PAX = ord("x")
_END_BLOCK = -1

# `split` needs so many bytes at least, unless they are the last.
INPUT_SIZE_MIN = 4 << 20


@dataclass(frozen=True, slots=True)
class Batch:
    """The first `size` bytes of an input, as slices of `chunks`, each of which they cover."""

    size: int
    chunks: list[memoryview]
    slices: list[Slice]


class TarSplitter:
    """Splits a stream of plain bytes, batch by batch. One thread at a time."""

    def __init__(self) -> None:
        self.chunker = _core.Chunker()
        self.left = 0  # bytes of a large file that are still to come
        self.padding = 0  # bytes behind a large file, up to the next block
        self.is_odd = False  # the rest is no tar
        self.size: int | None = None  # of the next file, from an extension

    def split(self, data: memoryview, *, final: bool) -> Batch:
        """Split the beginning of `data`; with `final` all of it.

        `data` begins where the last batch ended, and has `INPUT_SIZE_MIN` bytes or more unless it
        is `final`. Up to 2 MiB of it are left for the next call.
        """
        pieces = _Pieces(data)
        while pieces.at < len(data):
            if not (self.is_odd or self.left or self.padding) and self.size is None:
                pieces.take_files(*_core.tar_files(data, pieces.at, LARGE_SIZE_MIN - 1))
            if pieces.at == len(data):
                break
            if self.is_odd:
                is_done = pieces.cut(self.chunker, len(data) - pieces.at, final=final)
            elif self.left or self.padding:
                is_done = self._continue_file(pieces, final=final)
            else:
                is_done = self._take_entry(pieces, final=final)
            if not is_done:
                break
        return pieces.batch(self.chunker)

    def _take_entry(self, pieces: _Pieces, *, final: bool) -> bool:
        """Take an entry of the tar; return False if it is not here completely."""
        if pieces.left < BLOCK_SIZE:
            self.is_odd = final
            return final
        header = _core.tar_header(pieces.data, pieces.at)
        if header is None:
            self.is_odd = True
            return True
        kind, size = header
        if kind in _FILES:
            size = size if self.size is None else self.size
            return self._take_file(pieces, size, final=final)
        if kind in _EXTENSIONS and size <= _EXTENSION_SIZE_MAX:
            return self._take_extension(pieces, kind, size, final=final)
        if kind == _END_BLOCK or kind in _WITHOUT_CONTENT or size == 0:
            self.size = None
            pieces.take_header(BLOCK_SIZE)
            return True
        self.is_odd = True  # an entry with content whose type is unknown, or a sparse file
        return True

    def _take_extension(self, pieces: _Pieces, kind: int, size: int, *, final: bool) -> bool:
        whole = BLOCK_SIZE + size + _padding(size)
        if pieces.left < whole:
            self.is_odd = final
            return final
        if kind == _PAX:
            begin = pieces.at + BLOCK_SIZE
            self.size = pax_size(bytes(pieces.data[begin : begin + size]), self.size)
        pieces.take_header(whole)
        return True

    def _take_file(self, pieces: _Pieces, size: int, *, final: bool) -> bool:
        if size >= LARGE_SIZE_MIN:
            pieces.take_header(BLOCK_SIZE)
            self.left, self.padding, self.size = size, _padding(size), None
            return True
        if pieces.left < BLOCK_SIZE + size + _padding(size):
            self.is_odd = final
            return final
        self.size = None
        pieces.take_header(BLOCK_SIZE)
        if size:
            pieces.take_small(size)
            pieces.take_header(_padding(size))
        return True

    def _continue_file(self, pieces: _Pieces, *, final: bool) -> bool:
        """Take some of a large file, or the padding behind it."""
        if not self.left:
            size = min(self.padding, pieces.left)
            pieces.take_header(size)
            self.padding -= size
            return True
        here = min(self.left, pieces.left)
        begin = pieces.at
        is_done = pieces.cut(self.chunker, here, final=final or here == self.left)
        self.left -= pieces.at - begin
        return is_done


_Kind = Literal["header", "small", "large"]


class _Pieces:
    """The pieces of one input, until chunks are made of them."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.at = 0
        self._small: list[memoryview] = []
        self._group_ends: list[int] = []  # numbers of small files
        self._group_size = 0
        self._large: list[memoryview] = []  # whole chunks
        self._runs: list[tuple[_Kind, int]] = []  # in the order of the input

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def take_header(self, size: int) -> None:
        """Take bytes that describe files, or lie between them."""
        if size:
            self._take("header", size)

    def take_files(self, files: list[tuple[int, int]], end: int) -> None:
        """Take small files, which begin and have sizes as given, and what lies around them."""
        for begin, size in files:
            self.take_header(begin - self.at)
            self.take_small(size)
        self.take_header(end - self.at)

    def take_small(self, size: int) -> None:
        """Take the content of a small file."""
        if self._group_size + size > _GROUP_SIZE_MAX:
            self._end_group()
        content = self.data[self.at : self.at + size]
        self._take("small", size)
        self._small.append(content)
        self._group_size += size
        is_end = xxhash.xxh3_64_intdigest(content) % _GROUP_SPACING < size
        if is_end and self._group_size >= _GROUP_SIZE_MIN:
            self._end_group()

    def cut(self, chunker: _core.Chunker, size: int, *, final: bool) -> bool:
        """Take the whole chunks of the next `size` bytes; return False if there is none."""
        begin = self.at
        cuts = chunker.cut(self.data[begin : begin + size], final)
        for start, end in pairwise([0, *cuts]):
            self._large.append(self.data[self.at : self.at + end - start])
            self._take("large", end - start)
        return bool(cuts)

    def batch(self, chunker: _core.Chunker) -> Batch:
        self._end_group()
        headers = memoryview(b"".join(self._headers()))
        header_chunks = _slices_at(headers, chunker.cut(headers, True))
        groups = [
            memoryview(b"".join(self._small[first:end]))
            for first, end in pairwise([0, *self._group_ends])
        ]
        return Batch(
            self.at,
            [*header_chunks, *groups, *self._large],
            list(_slices(self._runs, (header_chunks, groups, self._large))),
        )

    def _take(self, kind: _Kind, size: int) -> None:
        self.at += size
        if kind != "large" and self._runs and self._runs[-1][0] == kind:
            self._runs[-1] = (kind, self._runs[-1][1] + size)
        else:
            self._runs.append((kind, size))

    def _headers(self) -> Iterator[memoryview]:
        at = 0
        for kind, size in self._runs:
            if kind == "header":
                yield self.data[at : at + size]
            at += size

    def _end_group(self) -> None:
        if self._group_size:
            self._group_ends.append(len(self._small))
            self._group_size = 0


class _ChunkCursor:
    """A place in consecutive chunks, of which the first has the index `index`."""

    def __init__(self, index: int, chunks: list[memoryview]) -> None:
        self._index = index
        self._sizes = [len(chunk) for chunk in chunks]
        self._at = self._used = 0

    def take(self, size: int) -> Iterable[Slice]:
        """The next `size` bytes."""
        while size:
            left = self._sizes[self._at] - self._used
            length = min(left, size)
            yield Slice(self._index + self._at, length)
            size -= length
            self._used += length
            if length == left:
                self._at, self._used = self._at + 1, 0


def _slices(runs: list[tuple[_Kind, int]], chunks: tuple[list[memoryview], ...]) -> Iterable[Slice]:
    headers, groups, large = chunks
    cursors = {
        "header": _ChunkCursor(0, headers),
        "small": _ChunkCursor(len(headers), groups),
        "large": _ChunkCursor(len(headers) + len(groups), large),
    }
    for kind, size in runs:
        yield from cursors[kind].take(size)


def _slices_at(data: memoryview, ends: list[int]) -> list[memoryview]:
    return [data[start:end] for start, end in pairwise([0, *ends])]


def _padding(size: int) -> int:
    return -size % BLOCK_SIZE


def pax_size(records: bytes, default: int | None) -> int | None:
    """Return the file size that the records of a pax header state, else `default`.

    Source: POSIX.1-2017, pax, "Extended Header". A record that cannot be read ends the search.
    """
    at = 0
    while at < len(records):
        length_text, space, _ = records[at : at + 20].partition(b" ")
        if not space or not length_text.isdigit() or int(length_text) == 0:
            return default
        record = records[at : at + int(length_text)]
        keyword, _, value = record[len(length_text) + 1 :].partition(b"=")
        if keyword == b"size" and len(value) <= _DIGITS_MAX and value.rstrip(b"\n").isdigit():
            default = int(value)
        at += int(length_text)
    return default

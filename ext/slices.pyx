"""Plain bytes from slices of chunks (docs/format.md, "Replay recipes").

A row of slices has columns: `lengths` with 4 octets and `indexes` with 2 octets for each slice, and
`starts` with 4 octets for each chunk, all little-endian. Slice i continues the chunk indexes[i]
where the slice of it before ended, and the first one at its start.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy


ctypedef struct SliceChunk:
    const char *content
    uint64_t size
    uint64_t next


cdef Py_ssize_t count_slices(bytes lengths, bytes indexes) except -1:
    cdef Py_ssize_t count = len(lengths) // 4
    if len(lengths) != 4 * count or len(indexes) != 2 * count:
        raise ValueError("the columns have different lengths")
    return count


def sliced_chunks(
    bytes lengths, bytes indexes, Py_ssize_t chunk_count, int64_t begin, int64_t end
) -> list:
    """Return the indexes of the chunks that have some of the plain bytes from `begin` to `end`.

    Offsets count from the first slice. Raises ValueError if a slice names a chunk at or above
    `chunk_count`, or if the columns do not fit each other.
    """
    cdef Py_ssize_t count = count_slices(lengths, indexes), i
    cdef const uint32_t *sizes = <const uint32_t *>PyBytes_AS_STRING(lengths)
    cdef const uint16_t *chunks = <const uint16_t *>PyBytes_AS_STRING(indexes)
    cdef int64_t at = 0
    cdef bytearray is_wanted = bytearray(chunk_count)
    for i in range(count):
        if chunks[i] >= chunk_count:
            raise ValueError("a slice names a chunk that the row does not have")
        if at < end and at + sizes[i] > begin and sizes[i]:
            is_wanted[chunks[i]] = 1
        at += sizes[i]
    return [i for i in range(chunk_count) if is_wanted[i]]


def copy_slices(
    into, int64_t offset, list contents, bytes starts, bytes lengths, bytes indexes
) -> None:
    """Copy the bytes of a row of slices to `into`, as far as they lie in it.

    The first slice belongs at `offset`, which may be negative. `contents` has the bytes of each
    chunk; those of chunks of which nothing is copied may be empty. Raises ValueError if a content
    is too short, or if the columns do not fit each other. Then some bytes may have been copied.
    """
    cdef Py_ssize_t count = count_slices(lengths, indexes), chunk_count = len(contents), i
    cdef const uint32_t *begins = <const uint32_t *>PyBytes_AS_STRING(starts)
    cdef Py_buffer view
    cdef SliceChunk *chunks
    if len(starts) != 4 * chunk_count:
        raise ValueError("the columns have different lengths")
    chunks = <SliceChunk *>malloc((chunk_count or 1) * sizeof(SliceChunk))
    if chunks == NULL:
        raise MemoryError
    try:
        for i in range(chunk_count):
            chunks[i].content = PyBytes_AS_STRING(<bytes?>contents[i])
            chunks[i].size = PyBytes_GET_SIZE(contents[i])
            chunks[i].next = begins[i]
        PyObject_GetBuffer(into, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
        try:
            if not copy_all(&view, offset, chunks, chunk_count, count,
                            <const uint32_t *>PyBytes_AS_STRING(lengths),
                            <const uint16_t *>PyBytes_AS_STRING(indexes)):
                raise ValueError("a chunk is shorter than the slices of it, or missing")
        finally:
            PyBuffer_Release(&view)
    finally:
        free(chunks)


cdef bint copy_all(
    Py_buffer *into,
    int64_t at,
    SliceChunk *chunks,
    Py_ssize_t chunk_count,
    Py_ssize_t count,
    const uint32_t *sizes,
    const uint16_t *indexes,
) noexcept:
    cdef SliceChunk *chunk
    cdef int64_t low, high
    cdef Py_ssize_t i
    for i in range(count):
        if indexes[i] >= chunk_count:
            return False
        chunk = &chunks[indexes[i]]
        low, high = max(at, 0), min(at + <int64_t>sizes[i], <int64_t>into.len)
        if low < high:
            if chunk.next + <uint64_t>(high - at) > chunk.size:
                return False
            memcpy(<char *>into.buf + low, chunk.content + chunk.next + (low - at), high - low)
        chunk.next += sizes[i]
        at += sizes[i]
    return True

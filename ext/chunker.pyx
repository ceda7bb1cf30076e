"""Content-defined cut points of a stream that arrives in pieces."""

from gear cimport (
    DTR_GEAR_WINDOW_SIZE,
    dtr_gear_cut,
    dtr_gear_find,
    dtr_gear_find_reference,
    dtr_gear_find_unrolled,
    dtr_gear_limits,
    dtr_gear_limits_init,
    dtr_gear_table,
)

cdef enum:
    # The most cuts found without the GIL: all those of a 1 MiB buffer with the default sizes.
    CUTS_AT_ONCE = 64
    # The store holds a whole chunk in memory.
    CHUNK_SIZE_LIMIT = 1 << 30


def chunker_kernels() -> tuple:
    """Return the names of the search kernels, the best first. All find the same cuts."""
    return ("unrolled", "reference")


def gear_table() -> tuple:
    """Return the 256 numbers of the gear hash."""
    return tuple([dtr_gear_table[i] for i in range(256)])


cdef size_t find_cuts(
    const dtr_gear_limits *limits,
    dtr_gear_find *find,
    const uint8_t *data,
    size_t size,
    size_t scanned,
    size_t *ends,
) noexcept nogil:
    """Find up to CUTS_AT_ONCE ends of chunks; the first chunk starts at data[0].

    Writes the ends to `ends` and returns their number.
    """
    cdef size_t count = 0, start = 0, chunk_size
    while count < CUTS_AT_ONCE:
        chunk_size = dtr_gear_cut(limits, find, data + start, size - start, scanned)
        if chunk_size == 0:
            break
        scanned = 0
        start += chunk_size
        ends[count] = start
        count += 1
    return count


@cython.final
cdef class Chunker:
    """Cuts a stream at points that its content defines (gear hash, normalized chunking; FastCDC).

    Sizes are in bytes: 64 <= min_size < average_size < max_size <= 2^30, and average_size is a
    power of two; else ValueError. `kernel` is one of chunker_kernels(); None means the best one.
    The cut points must never change, because deduplication finds stored chunks by them. The object
    keeps no state between calls, so any number of streams and threads can share it.
    """

    cdef dtr_gear_limits limits
    cdef dtr_gear_find *find

    def __cinit__(
        self,
        Py_ssize_t min_size=16384,
        Py_ssize_t average_size=65536,
        Py_ssize_t max_size=262144,
        kernel=None,
    ):
        if not DTR_GEAR_WINDOW_SIZE <= min_size < average_size < max_size <= CHUNK_SIZE_LIMIT:
            raise ValueError(f"chunk sizes {min_size}, {average_size}, {max_size} not in order")
        if average_size & (average_size - 1):
            raise ValueError(f"average chunk size {average_size} is not a power of two")
        if kernel is not None and kernel not in chunker_kernels():
            raise ValueError(f"no kernel {kernel!r}, only {', '.join(chunker_kernels())}")
        self.find = (
            dtr_gear_find_reference if kernel == "reference" else dtr_gear_find_unrolled
        )
        dtr_gear_limits_init(&self.limits, min_size, average_size, max_size)

    @property
    def min_size(self) -> int:
        return self.limits.size_min

    @property
    def average_size(self) -> int:
        return self.limits.size_average

    @property
    def max_size(self) -> int:
        return self.limits.size_max

    def cut(self, data, bint final=False, *, Py_ssize_t scanned=0) -> list:
        """Return the end offsets of the chunks in `data`, which must start where a chunk starts.

        The bytes after the last cut begin a chunk that ends later: pass them again, followed by
        more bytes. `scanned` is the number of bytes at the start that an earlier call searched
        without finding a cut (the size of that rest); they are not searched again. With `final` the
        rest is a chunk too. The cuts do not depend on how the stream is split into calls.

        Raises ValueError if `scanned` is negative, more than the data, or not less than max_size.
        Releases the GIL for 64 KiB and more.
        """
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if not 0 <= scanned <= view.len or <size_t>scanned >= self.limits.size_max:
                raise ValueError(f"{scanned} bytes of {view.len} cannot be scanned without a cut")
            return self.cut_all(<const uint8_t *>view.buf, view.len, final, scanned)
        finally:
            PyBuffer_Release(&view)

    cdef list cut_all(self, const uint8_t *data, size_t size, bint final, size_t scanned):
        cdef size_t[CUTS_AT_ONCE] ends
        cdef size_t start = 0, count = CUTS_AT_ONCE, i
        cdef list cuts = []
        while count == CUTS_AT_ONCE:
            if size - start >= GIL_RELEASE_SIZE:
                with nogil:
                    count = find_cuts(
                        &self.limits, self.find, data + start, size - start, scanned, ends
                    )
            else:
                count = find_cuts(
                    &self.limits, self.find, data + start, size - start, scanned, ends
                )
            for i in range(count):
                cuts.append(start + ends[i])
            if count:
                start += ends[count - 1]
                scanned = 0
        if final and start < size:
            cuts.append(size)
        return cuts

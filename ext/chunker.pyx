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
    # Cuts found between two looks at the interpreter: all of a 1 MiB buffer with the default sizes.
    CUTS_AT_ONCE = 64
    # A chunk is held in memory as a whole by who stores it.
    CHUNK_SIZE_LIMIT = 1 << 30


def chunker_kernels() -> tuple:
    """Names of the search kernels, best first; all find the same cuts."""
    return ("unrolled", "reference")


def gear_table() -> tuple:
    """The 256 numbers of the gear hash."""
    return tuple([dtr_gear_table[i] for i in range(256)])


cdef size_t find_cuts(
    const dtr_gear_limits *limits,
    dtr_gear_find *find,
    const uint8_t *data,
    size_t size,
    size_t scanned,
    size_t *ends,
) noexcept nogil:
    """Up to CUTS_AT_ONCE ends of chunks, the first of which starts at data[0]."""
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
    """Cuts a stream where its content says so (gear hash, normalized chunking; FastCDC).

    Sizes are bytes: 64 <= min_size < average_size < max_size <= 2^30, average_size a power of two;
    else ValueError. `kernel` names one of chunker_kernels(), None means the best. Cut points are
    for ever: stored chunks are found again by them. Keeps no state between calls, so one object
    serves any number of streams and threads.
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
        """End offsets of the chunks that end in `data`, which starts where a chunk starts.

        The bytes behind the last cut are the start of a chunk that ends later: give them again,
        with more behind them. `scanned` is how many bytes at the start were given before without
        a cut in them (the size of that rest), so that they are not searched twice. With `final`
        the rest is cut too. How a stream is split over calls makes no difference to its cuts.

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

"""C declarations of gear.h."""

from libc.stdint cimport uint8_t, uint64_t

cdef extern from "gear.h" nogil:
    enum: DTR_GEAR_WINDOW_SIZE

    ctypedef struct dtr_gear_limits:
        size_t size_min
        size_t size_average
        size_t size_max

    ctypedef size_t dtr_gear_find(
        const uint8_t *data, size_t first, size_t last, uint64_t threshold
    )

    dtr_gear_find dtr_gear_find_reference
    dtr_gear_find dtr_gear_find_unrolled
    const uint64_t[256] dtr_gear_table

    void dtr_gear_limits_init(
        dtr_gear_limits *limits, size_t size_min, size_t size_average, size_t size_max
    ) noexcept
    size_t dtr_gear_cut(
        const dtr_gear_limits *limits,
        dtr_gear_find *find,
        const uint8_t *data,
        size_t size,
        size_t scanned,
    ) noexcept

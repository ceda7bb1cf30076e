"""C declarations of head.h."""

from libc.stdint cimport int64_t, uint8_t

cdef extern from "head.h" nogil:
    enum: DTR_HEAD_COMPLETE
    enum: DTR_HEAD_INCOMPLETE
    enum: DTR_HEAD_TOO_MANY_FIELDS

    ctypedef struct dtr_span:
        size_t start
        size_t size

    ctypedef struct dtr_field:
        dtr_span name
        dtr_span value

    ctypedef struct dtr_head:
        size_t size
        dtr_span method
        dtr_span target
        int version_minor
        int64_t content_length
        int chunked
        int keep_alive
        int expect_continue
        int forwarded
        size_t field_count
        dtr_field *fields

    int dtr_head_parse(dtr_head *head, const uint8_t *data, size_t size) noexcept
    void dtr_name_lower(uint8_t *into, const uint8_t *name, size_t size) noexcept

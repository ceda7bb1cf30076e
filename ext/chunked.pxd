"""C declarations of chunked.h."""

from libc.stdint cimport uint8_t

cdef extern from "chunked.h" nogil:
    enum: DTR_CHUNKED_OK
    enum: DTR_CHUNKED_FINISHED

    ctypedef struct dtr_chunked:
        int state
        int status

    ctypedef struct dtr_chunked_input:
        const uint8_t *data
        size_t size
        size_t consumed

    ctypedef struct dtr_chunked_output:
        uint8_t *data
        size_t size
        size_t produced

    int dtr_chunked_decode(
        dtr_chunked *decoder, dtr_chunked_input *input, dtr_chunked_output *output
    ) noexcept

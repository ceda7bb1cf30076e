"""C declarations of replay.h."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "replay.h" nogil:
    enum: DTR_REPLAY_STATE_MAX
    enum: DTR_REPLAY_STOPPED
    enum: DTR_REPLAY_ENDED
    enum: DTR_REPLAY_SHORT
    enum: DTR_REPLAY_FULL
    enum: DTR_REPLAY_INVALID
    enum: DTR_REPLAY_MEMORY

    ctypedef struct dtr_replay:
        const uint8_t *plain
        uint64_t begin, end
        uint64_t total
        uint64_t stop
        uint64_t position
        uint8_t *out
        size_t out_capacity, out_size
        size_t state_size
        uint8_t state[DTR_REPLAY_STATE_MAX]

    ctypedef struct dtr_encoder:
        uint32_t id
        const char *name
        uint32_t history, lookahead
        int (*run)(dtr_replay *run) noexcept nogil

    const dtr_encoder *dtr_encoder_find(uint32_t id) noexcept
    const dtr_encoder *dtr_encoder_at(size_t index) noexcept
